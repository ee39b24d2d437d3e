//! APIs of Ottla's own, one file each, with keys from 10000 on. They are served on the listeners of
//! brokers and not advertised; whoever uses them asks in a version and sees whether it is known.

pub mod verify_logs;
