//! Which bytes each type of field takes.

use bytes::Bytes;
use uuid::Uuid;

use crate::protocol::codec::reader::LengthForm;
use crate::protocol::codec::{DecodeError, EncodeError, Reader, Str, Writer};

/// How a message is written: its version, and whether that is a flexible one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// The version.
    pub version: i16,
    /// Compact lengths and tagged fields (KIP-482).
    pub flexible: bool,
}

impl Form {
    fn short(self) -> LengthForm {
        if self.flexible { LengthForm::Compact } else { LengthForm::Two }
    }

    fn long(self) -> LengthForm {
        if self.flexible { LengthForm::Compact } else { LengthForm::Four }
    }
}

/// A source of random numbers below a bound, for samples.
pub type Draw<'a> = &'a mut dyn FnMut(u32) -> u32;

/// A type that fields can have.
pub trait Field: Sized {
    /// No value takes fewer bytes: what a count is checked against before memory is taken for it.
    fn min_size(form: Form) -> usize;

    /// Takes a value.
    fn read(reader: &mut Reader, form: Form) -> Result<Self, DecodeError>;

    /// Appends the value.
    fn write(&self, writer: &mut Writer, form: Form) -> Result<(), EncodeError>;

    /// A random value, for tests.
    #[doc(hidden)]
    fn sample(draw: Draw<'_>, form: Form) -> Self;
}

macro_rules! fixed {
    ($($type:ident $size:literal)*) => {
        $(impl Field for $type {
            fn min_size(_: Form) -> usize {
                $size
            }

            fn read(reader: &mut Reader, _: Form) -> Result<Self, DecodeError> {
                reader.$type()
            }

            fn write(&self, writer: &mut Writer, _: Form) -> Result<(), EncodeError> {
                writer.put(&self.to_be_bytes());
                Ok(())
            }

            fn sample(draw: Draw<'_>, _: Form) -> Self {
                sample_number(draw) as $type
            }
        })*
    };
}

fixed! { i8 1 i16 2 i32 4 i64 8 u16 2 u32 4 f64 8 }

/// Often one of the numbers at which things change, else any of 64 bits.
fn sample_number(draw: Draw<'_>) -> i64 {
    match draw(8) {
        0 => 0,
        1 => -1,
        2 => i64::MAX,
        3 => i64::from(draw(300)),
        _ => (i64::from(draw(u32::MAX)) << 32) | i64::from(draw(u32::MAX)),
    }
}

/// Now and then so many that a compact length takes more than one byte.
fn sample_length(draw: Draw<'_>, usual: u32) -> u32 {
    if draw(40) == 0 { 120 + draw(20) } else { draw(usual) }
}

fn sample_text(draw: Draw<'_>) -> String {
    const LETTERS: [char; 6] = ['a', 'Z', '-', '\u{e4}', '\u{4e2d}', '\u{1f980}'];
    let length = sample_length(draw, 12);
    (0..length).map(|_| LETTERS[draw(LETTERS.len() as u32) as usize]).collect()
}

impl Field for bool {
    fn min_size(_: Form) -> usize {
        1
    }

    fn read(reader: &mut Reader, _: Form) -> Result<Self, DecodeError> {
        Ok(reader.i8()? != 0)
    }

    fn write(&self, writer: &mut Writer, _: Form) -> Result<(), EncodeError> {
        writer.put(&[u8::from(*self)]);
        Ok(())
    }

    fn sample(draw: Draw<'_>, _: Form) -> Self {
        draw(2) == 1
    }
}

impl Field for Uuid {
    fn min_size(_: Form) -> usize {
        16
    }

    fn read(reader: &mut Reader, _: Form) -> Result<Self, DecodeError> {
        reader.uuid()
    }

    fn write(&self, writer: &mut Writer, _: Form) -> Result<(), EncodeError> {
        writer.put(self.as_bytes());
        Ok(())
    }

    fn sample(draw: Draw<'_>, _: Form) -> Self {
        Uuid::from_u64_pair(u64::from(draw(u32::MAX)), u64::from(draw(u32::MAX)))
    }
}

fn write_length(
    writer: &mut Writer,
    form: LengthForm,
    length: Option<usize>,
) -> Result<(), EncodeError> {
    let too_long = || EncodeError::TooLong(length.unwrap_or_default());
    match form {
        LengthForm::Compact => {
            let shifted = length.map_or(Some(0), |length| length.checked_add(1));
            let shifted = shifted.and_then(|length| u32::try_from(length).ok());
            writer.unsigned_varint(shifted.ok_or_else(too_long)?);
        }
        LengthForm::Two => {
            let length = length.map_or(Ok(-1), i16::try_from).map_err(|_| too_long())?;
            writer.put(&length.to_be_bytes());
        }
        LengthForm::Four => {
            let length = length.map_or(Ok(-1), i32::try_from).map_err(|_| too_long())?;
            writer.put(&length.to_be_bytes());
        }
    }
    Ok(())
}

/// Types of which a length says whether they are there, so that null is one of their values.
macro_rules! nullable {
    ($([$($generic:tt)*] $type:ty, $form:ident, $min:expr;
        read $reader:ident $length:ident $read_form:ident $read:expr;
        write $value:ident $writer:ident $write_form:ident $size:expr, $write:expr;
        sample $draw:ident $sample_form:ident $sample:expr;)*) => {
        $(impl<$($generic)*> Field for Option<$type> {
            fn min_size(form: Form) -> usize {
                form.$form().size()
            }

            fn read($reader: &mut Reader, $read_form: Form) -> Result<Self, DecodeError> {
                let length = nullable!(@length $form, $reader, $read_form, $min)?;
                let Some($length) = length else { return Ok(None) };
                $read.map(Some)
            }

            fn write(&self, $writer: &mut Writer, $write_form: Form) -> Result<(), EncodeError> {
                let Some($value) = self else { return write_length($writer, $write_form.$form(), None) };
                write_length($writer, $write_form.$form(), Some($size))?;
                $write
            }

            fn sample($draw: Draw<'_>, $sample_form: Form) -> Self {
                if $draw(4) == 0 { None } else { Some($sample) }
            }
        }

        impl<$($generic)*> Field for $type {
            fn min_size(form: Form) -> usize {
                form.$form().size()
            }

            fn read($reader: &mut Reader, $read_form: Form) -> Result<Self, DecodeError> {
                let length = nullable!(@length $form, $reader, $read_form, $min)?;
                let Some($length) = length else { return Err(DecodeError::UnexpectedNull) };
                $read
            }

            fn write(&self, $writer: &mut Writer, $write_form: Form) -> Result<(), EncodeError> {
                let $value = self;
                write_length($writer, $write_form.$form(), Some($size))?;
                $write
            }

            fn sample($draw: Draw<'_>, $sample_form: Form) -> Self {
                $sample
            }
        })*
    };
    (@length $form:ident, $reader:ident, $read_form:ident, $min:expr) => {
        $reader.count($read_form.$form(), $min)
    };
}

nullable! {
    [] Str, short, 1;
        read reader length form reader.text(length);
        write value writer form value.len(), { writer.put(value.as_bytes()); Ok(()) };
        sample draw _form sample_text(draw).into();
    [] Bytes, long, 1;
        read reader length form reader.take(length);
        write value writer form value.len(), { writer.put_bytes(value); Ok(()) };
        sample draw _form Bytes::from(vec![draw(256) as u8; draw(9000) as usize]);
    [T: Field] Vec<T>, long, T::min_size(form);
        read reader length form read_elements(reader, length, form);
        write value writer form value.len(), value.iter().try_for_each(|item| item.write(writer, form));
        sample draw form (0..sample_length(draw, 4)).map(|_| T::sample(draw, form)).collect();
}

/// The count has been checked against the bytes that remain, so the capacity is one that the frame
/// can fill.
fn read_elements<T: Field>(
    reader: &mut Reader,
    length: usize,
    form: Form,
) -> Result<Vec<T>, DecodeError> {
    let mut elements = Vec::with_capacity(length);
    for _ in 0..length {
        elements.push(T::read(reader, form)?);
    }
    Ok(elements)
}

/// Takes a value that may be null only in other versions.
pub fn read_present<T: Field>(reader: &mut Reader, form: Form) -> Result<Option<T>, DecodeError> {
    T::read(reader, form).map(Some)
}

/// Appends a value that may be null only in other versions.
pub fn write_present<T: Field>(
    value: &Option<T>,
    writer: &mut Writer,
    form: Form,
    field: &'static str,
) -> Result<(), EncodeError> {
    match value {
        Some(value) => value.write(writer, form),
        None => Err(EncodeError::NullInVersion { field, version: form.version }),
    }
}

/// A random value, for tests, that may be null only in other versions.
#[doc(hidden)]
pub fn sample_present<T: Field>(draw: Draw<'_>, form: Form) -> Option<T> {
    Some(T::sample(draw, form))
}

/// Takes the tagged fields of a flexible version: calls `known` for each with a reader of its
/// value; what `known` does not know (it gives false) is skipped.
pub fn read_tagged_fields(
    reader: &mut Reader,
    mut known: impl FnMut(u32, &mut Reader) -> Result<bool, DecodeError>,
) -> Result<(), DecodeError> {
    let count = reader.unsigned_varint()?;
    let mut last = None;
    for _ in 0..count {
        let tag = reader.unsigned_varint()?;
        if last.is_some_and(|last| tag <= last) {
            return Err(DecodeError::BadTag(tag));
        }
        last = Some(tag);
        let size = reader.unsigned_varint()? as usize;
        let mut value = Reader::new(reader.take(size)?);
        if known(tag, &mut value)? && value.remaining() > 0 {
            return Err(DecodeError::TagLeftover(tag));
        }
    }
    Ok(())
}

/// The tagged fields of a message that are to be written: tag and value.
pub type TaggedFields = Vec<(u32, Writer)>;

/// Appends tagged fields, in the order of their tags.
pub fn write_tagged_fields(
    writer: &mut Writer,
    mut fields: TaggedFields,
) -> Result<(), EncodeError> {
    fields.sort_by_key(|(tag, _)| *tag);
    let count = u32::try_from(fields.len()).map_err(|_| EncodeError::TooLong(fields.len()))?;
    writer.unsigned_varint(count);
    for (tag, value) in fields {
        let size = u32::try_from(value.len()).map_err(|_| EncodeError::TooLong(value.len()))?;
        writer.unsigned_varint(tag);
        writer.unsigned_varint(size);
        writer.append(value);
    }
    Ok(())
}
