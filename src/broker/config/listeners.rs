//! Listeners: where this node listens, where it is reached, and which of them are whose.

use crate::broker::config::values::{ConfigError, Values};
use crate::net::HostPort;

/// One listener of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Its name, e.g. `PLAINTEXT` or `CONTROLLER`.
    pub name: String,
    /// What it binds; an empty host means every interface.
    pub bind: HostPort,
    /// What others are told.
    pub advertised: HostPort,
    /// Whether it is one of `controller.listener.names`.
    pub is_controller: bool,
}

/// All that the listener keys say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listeners {
    /// Every listener of this node, brokers' first.
    pub all: Vec<ListenerConfig>,
    /// The listener by which brokers reach each other.
    pub inter_broker: String,
    /// The listener by which the quorum's nodes reach each other.
    pub controller: String,
}

/// Reads and checks the listener keys.
pub fn read(
    values: &Values,
    is_broker: bool,
    is_controller: bool,
) -> Result<Listeners, ConfigError> {
    let controller_names = values.list("controller.listener.names");
    let Some(&controller) = controller_names.first() else {
        return Err(values.wrong(
            &["controller.listener.names"],
            "controller.listener.names is not set; name the listener of the controllers, \
             e.g. CONTROLLER",
        ));
    };
    let bound = endpoints(values, "listeners")?;
    let advertised = endpoints(values, "advertised.listeners")?;
    for (index, (name, address)) in bound.iter().enumerate() {
        if bound[..index].iter().any(|(earlier, _)| earlier == name) {
            return Err(values.wrong(&["listeners"], format!("listeners names {name} twice")));
        }
        let same_port = |other: &HostPort| address.port != 0 && other.port == address.port;
        if bound[..index].iter().any(|(_, other)| same_port(other)) {
            return Err(
                values.wrong(&["listeners"], format!("listeners uses port {} twice", address.port))
            );
        }
        check_protocol(values, name)?;
    }
    check_protocol(values, controller)?;
    if let Some((name, _)) = advertised.iter().find(|(n, _)| !bound.iter().any(|(b, _)| b == n)) {
        return Err(values.wrong(
            &["advertised.listeners"],
            format!("advertised.listeners names {name}, which listeners has not"),
        ));
    }

    let mut all = Vec::new();
    for (name, bind) in bound {
        let is_controllers = controller_names.contains(&name.as_str());
        let told = advertised.iter().find(|(advertised, _)| *advertised == name);
        let advertised = told.map_or_else(|| bind.clone(), |(_, address)| address.clone());
        if advertised.host == "0.0.0.0" || advertised.host == "::" {
            return Err(values.wrong(
                &["advertised.listeners", "listeners"],
                format!(
                    "advertised.listeners: {name}://{advertised} cannot be reached by anybody; \
                 set it to a name or address of this host"
                ),
            ));
        }
        let host = match advertised.host.as_str() {
            "" => host_name(),
            host => host.to_owned(),
        };
        let advertised = HostPort::new(host, advertised.port);
        all.push(ListenerConfig { name, bind, advertised, is_controller: is_controllers });
    }
    all.sort_by_key(|listener| listener.is_controller);

    let brokers: Vec<&ListenerConfig> =
        all.iter().filter(|listener| !listener.is_controller).collect();
    let inter_broker = match values.explicit("inter.broker.listener.name") {
        Some(name) => name.to_owned(),
        None => brokers.first().map_or_else(|| "PLAINTEXT".to_owned(), |first| first.name.clone()),
    };
    if controller_names.contains(&inter_broker.as_str()) {
        return Err(values.wrong(
            &["inter.broker.listener.name"],
            format!(
                "inter.broker.listener.name={inter_broker} is a controller's listener; \
             brokers need one of their own"
            ),
        ));
    }
    if is_broker && !brokers.iter().any(|listener| listener.name == inter_broker) {
        return Err(values.wrong(
            &["inter.broker.listener.name", "listeners"],
            format!(
                "inter.broker.listener.name={inter_broker} is not in listeners; a broker needs it"
            ),
        ));
    }
    if is_controller && !all.iter().any(|listener| listener.name == controller) {
        return Err(values.wrong(
            &["listeners"],
            format!(
                "listeners has no {controller}, the first of controller.listener.names; \
             a controller needs it"
            ),
        ));
    }
    if let Some(listener) = all.iter().find(|listener| listener.is_controller && !is_controller) {
        return Err(values.wrong(
            &["listeners"],
            format!(
                "listeners has {}, a controller's, but process.roles has no controller",
                listener.name
            ),
        ));
    }
    if !is_broker && !brokers.is_empty() {
        return Err(values.wrong(
            &["listeners"],
            format!(
                "listeners has {}, which is no controller's, but process.roles has no broker",
                brokers[0].name
            ),
        ));
    }
    Ok(Listeners { all, inter_broker, controller: controller.to_owned() })
}

fn endpoints(values: &Values, key: &str) -> Result<Vec<(String, HostPort)>, ConfigError> {
    let parse = |item: &str| {
        let (name, address) = item.split_once("://").ok_or_else(|| {
            values.wrong(&[key], format!("{key}: '{item}' is not of the form NAME://host:port"))
        })?;
        let address = address
            .parse::<HostPort>()
            .map_err(|error| values.wrong(&[key], format!("{key}: '{item}': {error}")))?;
        Ok((name.to_uppercase(), address))
    };
    values.list(key).into_iter().map(parse).collect()
}

fn check_protocol(values: &Values, listener: &str) -> Result<(), ConfigError> {
    let map = values.list("listener.security.protocol.map");
    let mapped = map.iter().find_map(|item| {
        let (name, protocol) = item.split_once(':')?;
        name.trim().eq_ignore_ascii_case(listener).then(|| protocol.trim().to_uppercase())
    });
    match mapped.as_deref().unwrap_or(listener) {
        "PLAINTEXT" => Ok(()),
        protocol @ ("SSL" | "SASL_PLAINTEXT" | "SASL_SSL") => Err(values.wrong(
            &["listener.security.protocol.map", "listeners"],
            format!("listener {listener}: {protocol} is not served yet; map it to PLAINTEXT"),
        )),
        _ => Err(values.wrong(
            &["listener.security.protocol.map", "listeners"],
            format!(
                "listener.security.protocol.map says nothing about {listener}; \
             add {listener}:PLAINTEXT"
            ),
        )),
    }
}

/// What this machine calls itself, as Kafka advertises where a listener names no host.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
