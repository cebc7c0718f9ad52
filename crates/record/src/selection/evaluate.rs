//! Compiled expressions, and what they say of a record.
//!
//! A field that a record does not have is null. Whatever is done with null: an order (`<`, `>=` ...) or a search in
//! it does not hold, `==` holds with another null only, sums and parts of it are null. So an expression always says
//! yes or no.

use std::borrow::Cow;
use std::cmp::Ordering;

use regex::Regex;

use super::extract::{Found, Scalar, Slots};

/// A part of an expression.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Constant(Constant),
    /// A field, by its slot.
    Field(usize),
    /// A variable of a loop, by its place.
    Variable(usize),
    /// Whether a field, by its slot, is there.
    Has(usize),
    Not(Box<Self>),
    And(Box<[Self; 2]>),
    Or(Box<[Self; 2]>),
    Choice(Box<[Self; 3]>),
    Equal(Box<[Self; 2]>),
    Order(Order, Box<[Self; 2]>),
    Sum(Sum, Box<[Self; 2]>),
    Negative(Box<Self>),
    In(Box<[Self; 2]>),
    List(Vec<Self>),
    /// The item of a list with that number, from 0.
    Item(Box<[Self; 2]>),
    Search(Search, Box<[Self; 2]>),
    Matches(Box<Self>, Regex),
    Size(Box<Self>),
    Lower(Box<Self>),
    Loop(Box<Loop>),
}

#[derive(Clone, Debug)]
pub(super) enum Constant {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Box<str>),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Sum {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Search {
    Contains,
    StartsWith,
    EndsWith,
}

/// What `exists` and `all` become.
#[derive(Clone, Debug)]
pub(super) struct Loop {
    pub(super) range: Node,
    /// The places of the item and of what is found so far.
    pub(super) item: usize,
    pub(super) so_far: usize,
    pub(super) begin: Node,
    pub(super) goes_on: Node,
    pub(super) step: Node,
    pub(super) result: Node,
}

/// What a part of an expression is for one record.
#[derive(Clone, Debug)]
pub(super) enum Value<'v> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'v, str>),
    List(Vec<Self>),
}

/// What an expression is evaluated in.
pub(super) struct Scope<'v> {
    pub(super) slots: &'v Slots,
    pub(super) variables: Vec<Value<'v>>,
}

impl Node {
    /// Whether it holds: null does not.
    pub(super) fn holds<'v>(&'v self, scope: &mut Scope<'v>) -> bool {
        match self {
            Self::Has(slot) => !matches!(scope.slots.of(*slot), Found::Nothing),
            Self::Not(operand) => !operand.holds(scope),
            Self::And(operands) => operands.iter().all(|operand| operand.holds(scope)),
            Self::Or(operands) => operands.iter().any(|operand| operand.holds(scope)),
            Self::Equal(operands) => {
                let [a, b] = operands.each_ref().map(|operand| operand.value(scope));
                a.is_equal(&b)
            }
            Self::Order(order, operands) => {
                let [a, b] = operands.each_ref().map(|operand| operand.value(scope));
                a.compare(&b).is_some_and(|ordering| order.holds(ordering))
            }
            Self::In(operands) => {
                let [item, list] = &**operands;
                let item = item.value(scope);
                match list {
                    // Without making a list of it.
                    Self::List(nodes) => nodes.iter().any(|node| node.value(scope).is_equal(&item)),
                    list => match list.value(scope) {
                        Value::List(items) => items.iter().any(|other| other.is_equal(&item)),
                        _ => false,
                    },
                }
            }
            Self::Search(search, operands) => {
                let [text, part] = operands.each_ref().map(|operand| operand.value(scope));
                match (text, part) {
                    (Value::Text(text), Value::Text(part)) => search.holds(&text, &part),
                    _ => false,
                }
            }
            Self::Matches(operand, regex) => match operand.value(scope) {
                Value::Text(text) => regex.is_match(&text),
                _ => false,
            },
            other => matches!(other.value(scope), Value::Bool(true)),
        }
    }

    fn value<'v>(&'v self, scope: &mut Scope<'v>) -> Value<'v> {
        match self {
            Self::Constant(constant) => constant.value(),
            Self::Field(slot) => Value::of(scope.slots.of(*slot)),
            Self::Variable(place) => scope.variables.get(*place).cloned().unwrap_or(Value::Null),
            Self::Choice(nodes) => {
                let [condition, yes, no] = &**nodes;
                if condition.holds(scope) { yes.value(scope) } else { no.value(scope) }
            }
            Self::Sum(sum, operands) => {
                let [a, b] = operands.each_ref().map(|operand| operand.value(scope));
                sum.of(&a, &b)
            }
            Self::Negative(operand) => match operand.value(scope) {
                Value::Int(value) => value.checked_neg().map_or(Value::Null, Value::Int),
                Value::Float(value) => Value::Float(-value),
                _ => Value::Null,
            },
            Self::List(nodes) => Value::List(nodes.iter().map(|node| node.value(scope)).collect()),
            Self::Item(operands) => {
                let [list, place] = operands.each_ref().map(|operand| operand.value(scope));
                match (list, place) {
                    (Value::List(mut items), Value::Int(place)) => match usize::try_from(place) {
                        Ok(place) if place < items.len() => items.swap_remove(place),
                        _ => Value::Null,
                    },
                    _ => Value::Null,
                }
            }
            Self::Size(operand) => match operand.value(scope) {
                Value::Text(text) => Value::count(text.chars().count()),
                Value::List(items) => Value::count(items.len()),
                _ => Value::Null,
            },
            Self::Lower(operand) => match operand.value(scope) {
                Value::Text(text) => Value::Text(text.to_ascii_lowercase().into()),
                _ => Value::Null,
            },
            Self::Loop(of) => of.value(scope),
            Self::Has(_)
            | Self::Not(_)
            | Self::And(_)
            | Self::Or(_)
            | Self::Equal(_)
            | Self::Order(..)
            | Self::In(_)
            | Self::Search(..)
            | Self::Matches(..) => Value::Bool(self.holds(scope)),
        }
    }
}

impl Loop {
    fn value<'v>(&'v self, scope: &mut Scope<'v>) -> Value<'v> {
        let Value::List(items) = self.range.value(scope) else { return Value::Null };
        let begin = self.begin.value(scope);
        scope.set(self.so_far, begin);
        for item in items {
            if !self.goes_on.holds(scope) {
                break;
            }
            scope.set(self.item, item);
            let next = self.step.value(scope);
            scope.set(self.so_far, next);
        }
        self.result.value(scope)
    }
}

impl<'v> Scope<'v> {
    fn set(&mut self, place: usize, value: Value<'v>) {
        if self.variables.len() <= place {
            self.variables.resize(place + 1, Value::Null);
        }
        if let Some(variable) = self.variables.get_mut(place) {
            *variable = value;
        }
    }
}

impl Constant {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Float(value) => Value::Float(*value),
            Self::Text(text) => Value::Text(Cow::Borrowed(text)),
        }
    }
}

impl Order {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

impl Sum {
    /// Null if there is no such number.
    fn of<'v>(self, a: &Value<'_>, b: &Value<'_>) -> Value<'v> {
        if let (Value::Int(a), Value::Int(b)) = (a, b) {
            let sum = match self {
                Self::Add => a.checked_add(*b),
                Self::Subtract => a.checked_sub(*b),
                Self::Multiply => a.checked_mul(*b),
                Self::Divide => a.checked_div(*b),
                Self::Modulo => a.checked_rem(*b),
            };
            return sum.map_or(Value::Null, Value::Int);
        }
        if let (Self::Add, Value::Text(a), Value::Text(b)) = (self, a, b) {
            return Value::Text(format!("{a}{b}").into());
        }
        let (Some(a), Some(b)) = (a.float(), b.float()) else { return Value::Null };
        Value::Float(match self {
            Self::Add => a + b,
            Self::Subtract => a - b,
            Self::Multiply => a * b,
            Self::Divide => a / b,
            Self::Modulo => a % b,
        })
    }
}

impl Search {
    fn holds(self, text: &str, part: &str) -> bool {
        match self {
            Self::Contains => text.contains(part),
            Self::StartsWith => text.starts_with(part),
            Self::EndsWith => text.ends_with(part),
        }
    }
}

impl<'v> Value<'v> {
    fn of(found: Found<'v>) -> Self {
        match found {
            Found::Nothing => Self::Null,
            // Nothing can be done with it but to ask whether it is null.
            Found::Object => Self::Bool(true),
            Found::Bool(value) => Self::Bool(value),
            Found::Int(value) => Self::Int(value),
            Found::Float(value) => Self::Float(value),
            Found::Text(text) => Self::Text(Cow::Borrowed(text)),
            Found::Items(items) => Self::List(items.iter().map(Scalar::found).map(Self::of).collect()),
        }
    }

    fn count(count: usize) -> Self {
        Self::Int(i64::try_from(count).unwrap_or(i64::MAX))
    }

    fn float(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    fn is_equal(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Self::Null, Value::Null) => true,
            (Self::Bool(a), Value::Bool(b)) => a == b,
            (Self::List(a), Value::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is_equal(b))
            }
            _ => self.compare(other).is_some_and(Ordering::is_eq),
        }
    }

    /// `None` if they have no order: null has none, nor have a number and a text.
    fn compare(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Value::Int(b)) => Some(a.cmp(b)),
            (Self::Text(a), Value::Text(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
            _ => self.float()?.partial_cmp(&other.float()?),
        }
    }
}
