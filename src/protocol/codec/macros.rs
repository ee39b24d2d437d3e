//! `message!`: messages written down as the specification writes them.

/// Declares messages. Each field says in which versions it is there, and then, where it applies,
/// its tag (KIP-482), since when it may be null (an `Option` otherwise may be in all its versions),
/// that it may be dropped where a version does not have it, and its default:
///
/// ```text
/// message! {
///     /// What it is.
///     pub request ExampleRequest: ApiKey::Example, (0..=3, flexible 2) => ExampleResponse {
///         /// What it means.
///         name: Str [0..];
///         limit: i32 [1..; ignorable] = -1;
///         cluster_id: Option<Str> [3.., tag 0];
///         topics: Option<Vec<ExampleTopic>> [0.., nullable 1..];
///     }
///
///     pub struct ExampleTopic { index: i32 [0..]; }
///     pub message ExampleResponse (flexible 2) { error_code: i16 [0..]; }
/// }
/// ```
///
/// A `struct` is part of a message; a `message` stands by itself (a response, a stored record); a
/// `request` is a message that belongs to an API. All fields are public.
#[macro_export]
macro_rules! message {
    () => {};

    ($(#[$meta:meta])* pub struct $name:ident { $($body:tt)* } $($rest:tt)*) => {
        $crate::message!(@declare [$(#[$meta])*] $name { $($body)* });
        $crate::message!($($rest)*);
    };

    ($(#[$meta:meta])* pub message $name:ident (flexible $flexible:expr) { $($body:tt)* } $($rest:tt)*) => {
        $crate::message!(@declare [$(#[$meta])*] $name { $($body)* });
        $crate::message!(@message $name $flexible);
        $crate::message!($($rest)*);
    };

    ($(#[$meta:meta])* pub request $name:ident : $api:expr , ($versions:expr, flexible $flexible:expr)
        => $response:ty { $($body:tt)* } $($rest:tt)*) => {
        $crate::message!(@declare [$(#[$meta])*] $name { $($body)* });
        $crate::message!(@message $name $flexible);
        impl $crate::protocol::codec::Request for $name {
            const API: $crate::protocol::ApiKey = $api;
            const VERSIONS: std::ops::RangeInclusive<i16> = $versions;
            const FLEXIBLE: i16 = $flexible;
            type Response = $response;
        }
        $crate::message!($($rest)*);
    };

    (@message $name:ident $flexible:expr) => {
        impl $crate::protocol::codec::Message for $name {
            fn encode(
                &self,
                writer: &mut $crate::protocol::codec::Writer,
                version: i16,
            ) -> Result<(), $crate::protocol::codec::EncodeError> {
                let form = $crate::protocol::codec::Form { version, flexible: version >= $flexible };
                $crate::protocol::codec::Field::write(self, writer, form)
            }

            fn decode(
                reader: &mut $crate::protocol::codec::Reader,
                version: i16,
            ) -> Result<Self, $crate::protocol::codec::DecodeError> {
                let form = $crate::protocol::codec::Form { version, flexible: version >= $flexible };
                $crate::protocol::codec::Field::read(reader, form)
            }

            fn sample(draw: $crate::protocol::codec::Draw<'_>, version: i16) -> Self {
                let form = $crate::protocol::codec::Form { version, flexible: version >= $flexible };
                $crate::protocol::codec::Field::sample(draw, form)
            }
        }
    };

    (@declare [$($meta:tt)*] $name:ident {
        $($(#[$about:meta])* $field:ident : $type:ty
            [$versions:expr $(, tag $tag:literal)? $(, nullable $nullable:expr)? $(; $flag:ident)?] $(= $default:expr)? ;)*
    }) => {
        $($meta)*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[$about])* #[allow(missing_docs)] pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $crate::message!(@default $($default)?),)* }
            }
        }

        impl $crate::protocol::codec::Field for $name {
            #[allow(unused_mut)]
            fn min_size(form: $crate::protocol::codec::Form) -> usize {
                let mut size = usize::from(form.flexible);
                $($crate::message!(@min_size size, form, [$versions], $type $(, tag $tag)?);)*
                size
            }

            #[allow(unused_mut, unused_variables)]
            fn read(
                reader: &mut $crate::protocol::codec::Reader,
                form: $crate::protocol::codec::Form,
            ) -> Result<Self, $crate::protocol::codec::DecodeError> {
                let mut message = Self::default();
                $($crate::message!(@read message.$field, reader, form, [$versions]
                    $(, tag $tag)? $(, nullable $nullable)?);)*
                if form.flexible {
                    $crate::protocol::codec::read_tagged_fields(reader, |tag, reader| {
                        $($(if tag == $tag && ($versions).contains(&form.version) {
                            message.$field = $crate::protocol::codec::Field::read(reader, form)?;
                            return Ok(true);
                        })?)*
                        Ok(false)
                    })?;
                }
                Ok(message)
            }

            #[allow(unused_mut, unused_variables)]
            fn write(
                &self,
                writer: &mut $crate::protocol::codec::Writer,
                form: $crate::protocol::codec::Form,
            ) -> Result<(), $crate::protocol::codec::EncodeError> {
                let mut tagged = $crate::protocol::codec::TaggedFields::new();
                $(if ($versions).contains(&form.version) {
                    $crate::message!(@write self.$field, writer, form, tagged,
                        $crate::message!(@default $($default)?), $type
                        $(, tag $tag)? $(, nullable $nullable)?);
                } else {
                    $crate::message!(@dropped self.$field, form, stringify!($field),
                        $crate::message!(@default $($default)?), $type $(, $flag)?);
                })*
                if form.flexible {
                    $crate::protocol::codec::write_tagged_fields(writer, tagged)?;
                }
                Ok(())
            }

            #[allow(unused_variables)]
            fn sample(
                draw: $crate::protocol::codec::Draw<'_>,
                form: $crate::protocol::codec::Form,
            ) -> Self {
                Self {
                    $($field: if ($versions).contains(&form.version) {
                        $crate::message!(@sample draw, form, $type $(, nullable $nullable)?)
                    } else {
                        $crate::message!(@default $($default)?)
                    },)*
                }
            }
        }

        impl $crate::protocol::codec::Field for Option<$name> {
            fn min_size(_: $crate::protocol::codec::Form) -> usize {
                1
            }

            fn read(
                reader: &mut $crate::protocol::codec::Reader,
                form: $crate::protocol::codec::Form,
            ) -> Result<Self, $crate::protocol::codec::DecodeError> {
                match reader.i8()? {
                    ..0 => Ok(None),
                    _ => $crate::protocol::codec::Field::read(reader, form).map(Some),
                }
            }

            fn write(
                &self,
                writer: &mut $crate::protocol::codec::Writer,
                form: $crate::protocol::codec::Form,
            ) -> Result<(), $crate::protocol::codec::EncodeError> {
                match self {
                    None => writer.put(&[0xff]),
                    Some(value) => {
                        writer.put(&[1]);
                        $crate::protocol::codec::Field::write(value, writer, form)?;
                    }
                }
                Ok(())
            }

            fn sample(
                draw: $crate::protocol::codec::Draw<'_>,
                form: $crate::protocol::codec::Form,
            ) -> Self {
                if draw(2) == 0 { return None }
                Some($crate::protocol::codec::Field::sample(draw, form))
            }
        }
    };

    (@default) => { Default::default() };
    (@default $default:expr) => { $default };

    (@min_size $size:ident, $form:ident, [$versions:expr], $type:ty, tag $tag:literal) => {};
    (@min_size $size:ident, $form:ident, [$versions:expr], $type:ty) => {
        if ($versions).contains(&$form.version) {
            $size += <$type as $crate::protocol::codec::Field>::min_size($form);
        }
    };

    (@sample $draw:ident, $form:ident, $type:ty) => {
        <$type as $crate::protocol::codec::Field>::sample($draw, $form)
    };
    (@sample $draw:ident, $form:ident, $type:ty, nullable $nullable:expr) => {
        if ($nullable).contains(&$form.version) {
            <$type as $crate::protocol::codec::Field>::sample($draw, $form)
        } else {
            $crate::protocol::codec::sample_present($draw, $form)
        }
    };

    (@read $place:expr, $reader:ident, $form:ident, [$versions:expr], tag $tag:literal) => {};
    (@read $place:expr, $reader:ident, $form:ident, [$versions:expr], nullable $nullable:expr) => {
        if ($versions).contains(&$form.version) {
            $place = if ($nullable).contains(&$form.version) {
                $crate::protocol::codec::Field::read($reader, $form)?
            } else {
                $crate::protocol::codec::read_present($reader, $form)?
            };
        }
    };
    (@read $place:expr, $reader:ident, $form:ident, [$versions:expr]) => {
        if ($versions).contains(&$form.version) {
            $place = $crate::protocol::codec::Field::read($reader, $form)?;
        }
    };

    (@write $place:expr, $writer:ident, $form:ident, $tagged:ident, $default:expr, $type:ty, tag $tag:literal) => {{
        let default: $type = $default;
        if $place != default {
            let mut value = $crate::protocol::codec::Writer::new();
            $crate::protocol::codec::Field::write(&$place, &mut value, $form)?;
            $tagged.push(($tag, value));
        }
    }};
    (@write $place:expr, $writer:ident, $form:ident, $tagged:ident, $default:expr, $type:ty) => {
        $crate::protocol::codec::Field::write(&$place, $writer, $form)?;
    };

    (@write $place:expr, $writer:ident, $form:ident, $tagged:ident, $default:expr, $type:ty, nullable $nullable:expr) => {
        if ($nullable).contains(&$form.version) {
            $crate::protocol::codec::Field::write(&$place, $writer, $form)?;
        } else {
            $crate::protocol::codec::write_present(&$place, $writer, $form, stringify!($place))?;
        }
    };

    (@dropped $place:expr, $form:ident, $name:expr, $default:expr, $type:ty, ignorable) => {};
    (@dropped $place:expr, $form:ident, $name:expr, $default:expr, $type:ty) => {{
        let default: $type = $default;
        if $place != default {
            return Err($crate::protocol::codec::EncodeError::NotInVersion {
                field: $name,
                version: $form.version,
            });
        }
    }};
}
