//! Structs of counters that are summed over workers and shown by name, and the identities that hold between them.

use std::fmt;

/// Defines a struct whose fields are all `u64` counters, with what a ledger needs of one: sums of two with `+=`, and
/// the names and values of all fields in order (`fields`), so that no report forgets one.
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

/// An identity that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The identity in words, `left = right`.
    pub identity: &'static str,
    /// The value of its left side.
    pub left: u64,
    /// The value of its right side.
    pub right: u64,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not hold: {} is not {}", self.identity, self.left, self.right)
    }
}

/// Looks at identities one by one and keeps those that do not hold.
///
/// ```
/// let mut audit = gannet_packet::Audit::default();
/// audit.hold("packets given = accepted + refused", 5, 4 + 1);
/// audit.hold("packets accepted = written", 4, 3);
/// let violations = audit.violations();
/// assert_eq!(violations.len(), 1);
/// assert_eq!(violations[0].to_string(), "packets accepted = written does not hold: 4 is not 3");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Audit(Vec<Violation>);

impl Audit {
    /// Looks at one identity, whose sides have these values.
    pub fn hold(&mut self, identity: &'static str, left: u64, right: u64) {
        if left != right {
            self.0.push(Violation { identity, left, right });
        }
    }

    /// Adds what was found elsewhere.
    pub fn extend(&mut self, violations: Vec<Violation>) {
        self.0.extend(violations);
    }

    /// The identities that do not hold, in the order in which they were looked at.
    pub fn violations(self) -> Vec<Violation> {
        self.0
    }
}
