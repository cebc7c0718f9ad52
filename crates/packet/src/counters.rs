//! Structs of counters that are summed over workers and shown by name.

/// Defines a struct whose fields are all `u64` counters, with what a ledger needs of one: sums of two with `+=`, and the
/// names and values of all fields in order (`fields`), so that no report forgets one.
///
/// ```
/// gannet_packet::counters! {
///     /// What came in.
///     pub struct Counters {
///         /// Packets.
///         pub packets: u64,
///         pub bytes: u64,
///     }
/// }
/// let mut sum = Counters { packets: 1, bytes: 60 };
/// sum += Counters { packets: 2, bytes: 128 };
/// assert_eq!(sum.fields(), [("packets", 3), ("bytes", 188)]);
/// ```
#[macro_export]
macro_rules! counters {
    ($(#[$outer:meta])* $visible:vis struct $name:ident { $($(#[$inner:meta])* pub $field:ident: u64,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        $visible struct $name { $($(#[$inner])* pub $field: u64,)* }

        impl $name {
            /// Every counter by its name, in order.
            pub fn fields(&self) -> [(&'static str, u64); [$(stringify!($field)),*].len()] {
                [$((stringify!($field), self.$field)),*]
            }
        }

        impl ::std::ops::AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                $(self.$field += other.$field;)*
            }
        }
    };
}
