//! Plain little structs and their little-endian bytes.
//!
//! The tests must not share the daemon's ABI code, so this crate writes every structure down again and encodes
//! it field by field: no transmute, no padding the compiler chose.

/// A value with a fixed number of little-endian bytes.
pub trait Wire: Sized {
    /// Length of the encoded value in bytes.
    const SIZE: usize;

    /// Writes the value to the front of `out` and moves `out` past it.
    ///
    /// # Panics
    /// When `out` is shorter than `SIZE`.
    fn put(&self, out: &mut &mut [u8]);

    /// Reads a value from the front of `input` and moves `input` past it.
    ///
    /// # Panics
    /// When `input` is shorter than `SIZE`.
    fn get(input: &mut &[u8]) -> Self;

    /// Reads a value from the first `SIZE` bytes; `None` when there are fewer.
    fn decode(mut bytes: &[u8]) -> Option<Self> {
        (bytes.len() >= Self::SIZE).then(|| Self::get(&mut bytes))
    }
}

macro_rules! wire_integer {
    ($($ty:ty),*) => { $(
        impl Wire for $ty {
            const SIZE: usize = size_of::<$ty>();

            fn put(&self, out: &mut &mut [u8]) {
                let (front, rest) = std::mem::take(out).split_at_mut(Self::SIZE);
                front.copy_from_slice(&self.to_le_bytes());
                *out = rest;
            }

            fn get(input: &mut &[u8]) -> Self {
                let (front, rest) = input.split_at(Self::SIZE);
                *input = rest;
                Self::from_le_bytes(front.try_into().expect("split at the size"))
            }
        }
    )* };
}
wire_integer!(u8, u16, u32, i32, u64, i64);

impl<T: Wire + Copy + Default, const N: usize> Wire for [T; N] {
    const SIZE: usize = N * T::SIZE;

    fn put(&self, out: &mut &mut [u8]) {
        self.iter().for_each(|item| item.put(out));
    }

    fn get(input: &mut &[u8]) -> Self {
        let mut array = [T::default(); N];
        array.iter_mut().for_each(|item| *item = T::get(input));
        array
    }
}

/// Declares a struct with public fields, `Wire` and `encode() -> [u8; SIZE]`.
macro_rules! wire_struct {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $ty:ty),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the fields bear the names of the specification's structure")]
        pub struct $name { $($(#[$field_meta])* pub $field: $ty),* }

        impl $crate::wire::Wire for $name {
            const SIZE: usize = 0 $(+ <$ty as $crate::wire::Wire>::SIZE)*;

            fn put(&self, out: &mut &mut [u8]) {
                $($crate::wire::Wire::put(&self.$field, out);)*
            }

            fn get(input: &mut &[u8]) -> Self {
                Self { $($field: $crate::wire::Wire::get(input)),* }
            }
        }

        impl $name {
            /// The structure's bytes.
            pub fn encode(&self) -> [u8; <$name as $crate::wire::Wire>::SIZE] {
                let mut bytes = [0; <$name as $crate::wire::Wire>::SIZE];
                $crate::wire::Wire::put(self, &mut &mut bytes[..]);
                bytes
            }
        }
    };
}
pub(crate) use wire_struct;

#[cfg(test)]
mod tests {
    use super::*;

    wire_struct! {
        /// Mixed widths.
        Sample { a: u16, b: u64, c: [u32; 2] }
    }

    #[test]
    fn a_struct_survives_encoding_and_decoding() {
        let sample = Sample {
            a: 0x0102,
            b: 3,
            c: [4, 5],
        };

        let bytes = sample.encode();

        assert_eq!(bytes.len(), 18);
        assert_eq!(bytes[..3], [2, 1, 3]);
        assert_eq!(Sample::decode(&bytes), Some(sample));
    }

    #[test]
    fn too_few_bytes_decode_to_none() {
        assert_eq!(Sample::decode(&[0; 17]), None);
    }
}
