//! From the tree that the parser makes of an expression to a [`Node`] whose parts fit together.

use std::collections::BTreeSet;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, Expr, IdedExpr, ListExpr, LiteralValue, SelectExpr, SourceInfo, operators,
};
use regex::RegexBuilder;

use super::evaluate::{Constant, Loop, Node, Order, Search, Sum};
use super::extract::Tree;
use super::fields::{self, Kind, Named};
use crate::fields::is_of_kept_body;

/// An expression in which every name is known and every operation possible.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    pub(super) root: Node,
    /// The fields it asks for, and how many they are.
    pub(super) wanted: Tree,
    pub(super) slots: usize,
    /// The header fields among them, in small letters.
    pub(super) headers: Vec<String>,
    /// A field among them that is there of bodies that are kept only.
    pub(super) of_body: Option<String>,
}

/// What is wrong, and where in the text: bytes from its beginning.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) what: String,
    pub(super) at: usize,
}

/// Compiles an expression that is true or false.
pub(super) fn compile(expr: &IdedExpr, source: &SourceInfo) -> Result<Compiled, Wrong> {
    let mut compiler = Compiler {
        source,
        wanted: Tree::default(),
        slots: 0,
        headers: BTreeSet::new(),
        of_body: None,
        variables: Vec::new(),
        places: 0,
    };
    let (root, kind) = compiler.part(expr)?;
    if kind != Type::Bool {
        return Err(compiler.wrong(expr, format!("the expression is {kind}, where yes or no is wanted")));
    }
    let headers = compiler.headers.into_iter().collect();
    let Compiler { wanted, slots, of_body, .. } = compiler;
    Ok(Compiled { root, wanted, slots, headers, of_body })
}

struct Compiler<'a> {
    source: &'a SourceInfo,
    wanted: Tree,
    slots: usize,
    headers: BTreeSet<String>,
    of_body: Option<String>,
    /// Variables of loops that can be seen here, the innermost last.
    variables: Vec<(&'a str, usize, Type)>,
    places: usize,
}

/// What a part of an expression is; any of them may be null besides.
#[derive(Clone, Debug, PartialEq)]
enum Type {
    Null,
    Bool,
    Number,
    Text,
    /// `None`: without items.
    List(Option<Box<Self>>),
    Object,
}

impl std::fmt::Display for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool => "true or false",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::List(_) => "a list",
            Self::Object => "an object",
        })
    }
}

impl Type {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text,
            Kind::Number => Self::Number,
            Kind::Flag => Self::Bool,
            Kind::Texts => Self::list_of(Self::Text),
            Kind::Objects => Self::list_of(Self::Object),
            Kind::Headers => Self::Object,
        }
    }

    fn list_of(item: Self) -> Self {
        Self::List(Some(Box::new(item)))
    }

    /// Whether it makes sense to ask if two are the same.
    fn may_equal(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, _) | (_, Self::Null) => true,
            (Self::List(Some(a)), Self::List(Some(b))) => a.may_equal(b),
            (Self::List(_), Self::List(_)) => true,
            (Self::Object, _) | (_, Self::Object) => false,
            (a, b) => a == b,
        }
    }
}

type Part = (Node, Type);

impl<'a> Compiler<'a> {
    fn part(&mut self, expr: &'a IdedExpr) -> Result<Part, Wrong> {
        if let Some(name) = self.name(expr) {
            return self.field(expr, &name);
        }
        match &expr.expr {
            Expr::Literal(literal) => self.literal(expr, literal),
            Expr::Ident(name) => self.variable(expr, name),
            Expr::List(list) => self.list(list),
            Expr::Select(select) if select.test => self.presence(expr, select),
            Expr::Call(call) => self.call(expr, call),
            Expr::Comprehension(of) => self.comprehension(expr, of),
            Expr::Select(_) => Err(self.wrong(expr, "only records have fields, and objects in them")),
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                Err(self.wrong(expr, "nothing of a record can be compared with this"))
            }
        }
    }

    /// A number, a text, null.
    fn literal(&self, expr: &IdedExpr, literal: &LiteralValue) -> Result<Part, Wrong> {
        let (constant, kind) = match literal {
            LiteralValue::Null => (Constant::Null, Type::Null),
            LiteralValue::Boolean(value) => (Constant::Bool(*value.inner()), Type::Bool),
            LiteralValue::Int(value) => (Constant::Int(*value.inner()), Type::Number),
            LiteralValue::UInt(value) => {
                (Constant::Int(i64::try_from(*value.inner()).unwrap_or(i64::MAX)), Type::Number)
            }
            LiteralValue::Double(value) => (Constant::Float(*value.inner()), Type::Number),
            LiteralValue::String(text) => (Constant::Text(text.inner().into()), Type::Text),
            LiteralValue::Bytes(_) => {
                return Err(self.wrong(expr, "records hold text, no bytes: write it without the b"));
            }
        };
        Ok((Node::Constant(constant), kind))
    }

    /// The dotted name that an expression spells, if it begins at a record's root. A header field may stand in
    /// brackets.
    fn name(&self, expr: &IdedExpr) -> Option<String> {
        match &expr.expr {
            Expr::Ident(name) => self.find(name).is_none().then(|| name.clone()),
            Expr::Select(SelectExpr { operand, field, test: false }) => {
                let name = self.name(operand)?;
                let field = if is_headers(&name) { field.to_ascii_lowercase() } else { field.clone() };
                Some(format!("{name}.{field}"))
            }
            Expr::Call(CallExpr { func_name, args, .. }) if func_name == operators::INDEX => {
                let [operand, key] = args.as_slice() else { return None };
                let Expr::Literal(LiteralValue::String(key)) = &key.expr else { return None };
                let name = self.name(operand)?;
                let key =
                    if is_headers(&name) { key.inner().to_ascii_lowercase() } else { key.inner().to_owned() };
                Some(format!("{name}.{key}"))
            }
            _ => None,
        }
    }

    /// A field by its name.
    fn field(&mut self, expr: &IdedExpr, name: &str) -> Result<Part, Wrong> {
        let kind = match fields::find(name).map_err(|what| self.wrong(expr, what))? {
            Named::Field(kind) => Type::of(kind),
            Named::Header => Type::list_of(Type::Text),
            Named::Object => Type::Object,
        };
        Ok((Node::Field(self.slot(name)), kind))
    }

    /// The slot for the field with this name.
    fn slot(&mut self, name: &str) -> usize {
        let mut names: Vec<_> = name.split('.').collect();
        for (field, _) in fields::all().filter(|(_, kind)| *kind == Kind::Headers) {
            // Names of header fields may have dots in them.
            if let Some(header) = name.strip_prefix(field).and_then(|rest| rest.strip_prefix('.')) {
                names = field.split('.').chain([header]).collect();
                self.headers.insert(header.to_owned());
            }
        }
        if is_of_kept_body(&names) {
            self.of_body.get_or_insert_with(|| name.to_owned());
        }
        let slot = self.wanted.slot(&names, self.slots);
        self.slots = self.slots.max(slot + 1);
        slot
    }

    fn find(&self, name: &str) -> Option<&(&'a str, usize, Type)> {
        self.variables.iter().rev().find(|(variable, ..)| *variable == name)
    }

    fn variable(&self, expr: &IdedExpr, name: &str) -> Result<Part, Wrong> {
        match self.find(name) {
            Some((_, place, kind)) => Ok((Node::Variable(*place), kind.clone())),
            None => Err(self.wrong(expr, format!("there is no variable {name}"))),
        }
    }

    fn list(&mut self, list: &'a ListExpr) -> Result<Part, Wrong> {
        let (mut nodes, mut item) = (Vec::new(), None);
        for element in &list.elements {
            let (node, kind) = self.part(element)?;
            nodes.push(node);
            match &item {
                None | Some(Type::Null) => item = Some(kind),
                Some(item) if item.may_equal(&kind) => {}
                Some(item) => {
                    let what = format!("a list holds what is alike: {item} comes first, and this is {kind}");
                    return Err(self.wrong(element, what));
                }
            }
        }
        Ok((Node::List(nodes), Type::List(item.map(Box::new))))
    }

    /// `has(a.b)`.
    fn presence(&mut self, expr: &IdedExpr, select: &SelectExpr) -> Result<Part, Wrong> {
        let name = self.name(&select.operand).map(|object| format!("{object}.{}", select.field));
        match name {
            Some(name) => {
                fields::find(&name).map_err(|what| self.wrong(expr, what))?;
                Ok((Node::Has(self.slot(&name)), Type::Bool))
            }
            None => Err(self.wrong(expr, "has() asks for a field of a record")),
        }
    }

    fn call(&mut self, expr: &'a IdedExpr, call: &'a CallExpr) -> Result<Part, Wrong> {
        let operands: Vec<&'a IdedExpr> = call.target.as_deref().into_iter().chain(&call.args).collect();
        match (call.func_name.as_str(), operands.as_slice()) {
            (operators::LOGICAL_AND, [a, b]) => {
                Ok((Node::And(Box::new([self.condition(a)?, self.condition(b)?])), Type::Bool))
            }
            (operators::LOGICAL_OR, [a, b]) => {
                Ok((Node::Or(Box::new([self.condition(a)?, self.condition(b)?])), Type::Bool))
            }
            (operators::LOGICAL_NOT, [a]) => Ok((Node::Not(Box::new(self.condition(a)?)), Type::Bool)),
            // Of use in what macros become: nothing here fails.
            (operators::NOT_STRICTLY_FALSE, [a]) => self.part(a),
            (operators::CONDITIONAL, [condition, yes, no]) => self.choice(condition, yes, no),
            (operators::EQUALS, [a, b]) => self.equality(expr, a, b),
            (operators::NOT_EQUALS, [a, b]) => {
                self.equality(expr, a, b).map(|(equal, kind)| (Node::Not(Box::new(equal)), kind))
            }
            (operators::LESS, [a, b]) => self.order(expr, Order::Less, a, b),
            (operators::LESS_EQUALS, [a, b]) => self.order(expr, Order::LessOrEqual, a, b),
            (operators::GREATER, [a, b]) => self.order(expr, Order::Greater, a, b),
            (operators::GREATER_EQUALS, [a, b]) => self.order(expr, Order::GreaterOrEqual, a, b),
            (operators::ADD, [a, b]) => self.sum(expr, Sum::Add, a, b),
            (operators::SUBSTRACT, [a, b]) => self.sum(expr, Sum::Subtract, a, b),
            (operators::MULTIPLY, [a, b]) => self.sum(expr, Sum::Multiply, a, b),
            (operators::DIVIDE, [a, b]) => self.sum(expr, Sum::Divide, a, b),
            (operators::MODULO, [a, b]) => self.sum(expr, Sum::Modulo, a, b),
            (operators::NEGATE, [a]) => {
                Ok((Node::Negative(Box::new(self.of_type(a, Type::Number)?)), Type::Number))
            }
            (operators::IN, [item, list]) => self.membership(expr, item, list),
            (operators::INDEX, [list, place]) => self.item(list, place),
            ("contains", [text, part]) => self.search(Search::Contains, text, part),
            ("startsWith", [text, part]) => self.search(Search::StartsWith, text, part),
            ("endsWith", [text, part]) => self.search(Search::EndsWith, text, part),
            ("matches", [text, pattern]) => self.matches(text, pattern),
            ("lowerAscii", [text]) => {
                Ok((Node::Lower(Box::new(self.of_type(text, Type::Text)?)), Type::Text))
            }
            ("size", [of]) => match self.part(of)? {
                (node, Type::Text | Type::List(_)) => Ok((Node::Size(Box::new(node)), Type::Number)),
                (_, kind) => Err(self.wrong(of, format!("{kind} has no size"))),
            },
            ("duration", [text]) => self.duration(text),
            (name, _) => {
                let what = if FUNCTIONS.contains(&name) {
                    let given = call.args.len();
                    format!("{name} does not take {given} value{}", if given == 1 { "" } else { "s" })
                } else {
                    format!("there is no function {name}: there are {}", FUNCTIONS.join(", "))
                };
                Err(self.wrong(expr, what))
            }
        }
    }

    /// Something that is true or false.
    fn condition(&mut self, expr: &'a IdedExpr) -> Result<Node, Wrong> {
        self.of_type(expr, Type::Bool)
    }

    fn of_type(&mut self, expr: &'a IdedExpr, wanted: Type) -> Result<Node, Wrong> {
        match self.part(expr)? {
            (node, kind) if kind == wanted || kind == Type::Null => Ok(node),
            (_, kind) => Err(self.wrong(expr, format!("{} is {kind}, {wanted} is wanted", self.shown(expr)))),
        }
    }

    fn choice(
        &mut self,
        condition: &'a IdedExpr,
        yes: &'a IdedExpr,
        no: &'a IdedExpr,
    ) -> Result<Part, Wrong> {
        let condition = self.condition(condition)?;
        let ((yes_node, yes_kind), (no_node, no_kind)) = (self.part(yes)?, self.part(no)?);
        if !yes_kind.may_equal(&no_kind) {
            return Err(self.wrong(no, format!("this is {no_kind}, and the other choice is {yes_kind}")));
        }
        let kind = if yes_kind == Type::Null { no_kind } else { yes_kind };
        Ok((Node::Choice(Box::new([condition, yes_node, no_node])), kind))
    }

    fn equality(&mut self, expr: &IdedExpr, a: &'a IdedExpr, b: &'a IdedExpr) -> Result<Part, Wrong> {
        let ((a_node, a_kind), (b_node, b_kind)) = (self.part(a)?, self.part(b)?);
        if !a_kind.may_equal(&b_kind) {
            return Err(self.differ(expr, (a, &a_kind), (b, &b_kind)));
        }
        Ok((Node::Equal(Box::new([a_node, b_node])), Type::Bool))
    }

    fn order(
        &mut self,
        expr: &IdedExpr,
        order: Order,
        a: &'a IdedExpr,
        b: &'a IdedExpr,
    ) -> Result<Part, Wrong> {
        let ((a_node, a_kind), (b_node, b_kind)) = (self.part(a)?, self.part(b)?);
        match (&a_kind, &b_kind) {
            (Type::Number, Type::Number) | (Type::Text, Type::Text) => {
                Ok((Node::Order(order, Box::new([a_node, b_node])), Type::Bool))
            }
            (Type::Null, _) | (_, Type::Null) => {
                Err(self.wrong(expr, "null is neither more nor less than anything: == and != ask for it"))
            }
            _ => Err(self.differ(expr, (a, &a_kind), (b, &b_kind))),
        }
    }

    fn sum(&mut self, expr: &IdedExpr, sum: Sum, a: &'a IdedExpr, b: &'a IdedExpr) -> Result<Part, Wrong> {
        let ((a_node, a_kind), (b_node, b_kind)) = (self.part(a)?, self.part(b)?);
        let kind = match (&a_kind, &b_kind, sum) {
            (Type::Number, Type::Number, _) => Type::Number,
            (Type::Text, Type::Text, Sum::Add) => Type::Text,
            _ => return Err(self.differ(expr, (a, &a_kind), (b, &b_kind))),
        };
        Ok((Node::Sum(sum, Box::new([a_node, b_node])), kind))
    }

    fn membership(&mut self, expr: &IdedExpr, item: &'a IdedExpr, list: &'a IdedExpr) -> Result<Part, Wrong> {
        // `"cookie" in http.request.header`.
        if let (Some(name), Expr::Literal(LiteralValue::String(key))) = (self.name(list), &item.expr)
            && is_headers(&name)
        {
            let slot = self.slot(&format!("{name}.{}", key.inner().to_ascii_lowercase()));
            return Ok((Node::Has(slot), Type::Bool));
        }
        let ((item_node, item_kind), (list_node, list_kind)) = (self.part(item)?, self.part(list)?);
        match &list_kind {
            Type::List(of) if of.as_ref().is_none_or(|of| of.may_equal(&item_kind)) => {
                Ok((Node::In(Box::new([item_node, list_node])), Type::Bool))
            }
            Type::List(Some(of)) => Err(self
                .wrong(expr, format!("{} is {item_kind}, and each in the list is {of}", self.shown(item)))),
            _ => Err(self.wrong(list, format!("{} is {list_kind}, a list is wanted", self.shown(list)))),
        }
    }

    fn item(&mut self, list: &'a IdedExpr, place: &'a IdedExpr) -> Result<Part, Wrong> {
        let place = self.of_type(place, Type::Number)?;
        match self.part(list)? {
            (node, Type::List(of)) => {
                let kind = of.map_or(Type::Null, |of| *of);
                Ok((Node::Item(Box::new([node, place])), kind))
            }
            (_, kind) => Err(self.wrong(list, format!("{} is {kind}, which has no items", self.shown(list)))),
        }
    }

    fn search(&mut self, search: Search, text: &'a IdedExpr, part: &'a IdedExpr) -> Result<Part, Wrong> {
        let nodes = [self.of_type(text, Type::Text)?, self.of_type(part, Type::Text)?];
        Ok((Node::Search(search, Box::new(nodes)), Type::Bool))
    }

    fn matches(&mut self, text: &'a IdedExpr, pattern: &IdedExpr) -> Result<Part, Wrong> {
        let node = self.of_type(text, Type::Text)?;
        let Expr::Literal(LiteralValue::String(literal)) = &pattern.expr else {
            return Err(self.wrong(pattern, "the pattern is a text in quotes"));
        };
        let regex =
            RegexBuilder::new(literal.inner()).size_limit(MAX_REGEX_BYTES).build().map_err(|error| {
                let text = error.to_string();
                // The last line says what, those before draw it, which this error does as well.
                let what = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
                self.wrong(pattern, format!("no regular expression: {what}"))
            })?;
        Ok((Node::Matches(Box::new(node), regex), Type::Bool))
    }

    /// `duration("1.5s")`: nanoseconds, as the fields of `timing` are.
    fn duration(&self, text: &IdedExpr) -> Result<Part, Wrong> {
        let nanos = match &text.expr {
            Expr::Literal(LiteralValue::String(literal)) => nanos(literal.inner()),
            _ => None,
        };
        match nanos {
            Some(nanos) => Ok((Node::Constant(Constant::Int(nanos)), Type::Number)),
            None => Err(self.wrong(text, "a duration is a text like \"250ms\", \"1.5s\" or \"1m30s\"")),
        }
    }

    /// What `exists`, `all` and `exists_one` become.
    fn comprehension(&mut self, expr: &'a IdedExpr, of: &'a ComprehensionExpr) -> Result<Part, Wrong> {
        let (range, kind) = self.part(&of.iter_range)?;
        let Type::List(item_kind) = kind else {
            let what = format!("{} is {kind}, a list is wanted", self.shown(&of.iter_range));
            return Err(self.wrong(&of.iter_range, what));
        };
        if of.iter_var2.is_some() {
            return Err(self.wrong(expr, "one variable is enough for a list"));
        }
        let (begin, so_far_kind) = self.part(&of.accu_init)?;
        if matches!(so_far_kind, Type::List(_)) {
            return Err(self.wrong(expr, "lists are not made anew: use exists() or all()"));
        }
        let (item, so_far) = (self.places, self.places + 1);
        self.places += 2;
        let outside = self.variables.len();
        self.variables.push((&of.accu_var, so_far, so_far_kind.clone()));
        self.variables.push((&of.iter_var, item, item_kind.map_or(Type::Null, |kind| *kind)));
        let inside = (|| {
            Ok((
                self.condition(&of.loop_cond)?,
                self.of_type(&of.loop_step, so_far_kind)?,
                self.part(&of.result)?,
            ))
        })();
        self.variables.truncate(outside);
        let (goes_on, step, (result, kind)) = inside?;
        Ok((Node::Loop(Box::new(Loop { range, item, so_far, begin, goes_on, step, result })), kind))
    }

    /// Two that cannot be compared.
    fn differ(&self, expr: &IdedExpr, a: (&IdedExpr, &Type), b: (&IdedExpr, &Type)) -> Wrong {
        let mut what = format!("{} is {}, and {} is {}", self.shown(a.0), a.1, self.shown(b.0), b.1);
        if [a.1, b.1].into_iter().any(|kind| matches!(kind, Type::List(_))) {
            what.push_str(": use `in`, or take an item of the list, as in [0]");
        }
        self.wrong(expr, what)
    }

    /// An operand in a message.
    fn shown(&self, expr: &IdedExpr) -> String {
        match (&expr.expr, self.name(expr)) {
            (_, Some(name)) => name,
            (Expr::Literal(LiteralValue::String(text)), _) => format!("{:?}", text.inner()),
            (Expr::Literal(LiteralValue::Int(value)), _) => value.inner().to_string(),
            _ => "this".to_owned(),
        }
    }

    fn wrong(&self, expr: &IdedExpr, what: impl Into<String>) -> Wrong {
        // A name begins where its first part does.
        let mut first = expr;
        loop {
            first = match &first.expr {
                Expr::Select(select) => &select.operand,
                Expr::Call(call) if call.func_name == operators::INDEX => match call.args.first() {
                    Some(operand) => operand,
                    None => break,
                },
                _ => break,
            };
        }
        let at = self.source.offset_for(first.id).or_else(|| self.source.offset_for(expr.id));
        Wrong { what: what.into(), at: at.map_or(0, |(start, _)| start as usize) }
    }
}

fn is_headers(name: &str) -> bool {
    fields::find(name) == Ok(Named::Field(Kind::Headers))
}

/// The nanoseconds of a duration as CEL writes it: numbers with units, without blanks.
fn nanos(text: &str) -> Option<i64> {
    let (mut rest, mut sum) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|char: char| char.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit)?;
        sum += number.parse::<f64>().ok()? * nanos;
        rest = tail;
    }
    (!text.is_empty() && sum < i64::MAX as f64).then_some(sum.round() as i64)
}

const UNITS: [(&str, f64); 7] =
    [("h", 3.6e12), ("m", 6e10), ("s", 1e9), ("ms", 1e6), ("us", 1e3), ("µs", 1e3), ("ns", 1.0)];

const FUNCTIONS: [&str; 10] = [
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "lowerAscii",
    "size",
    "duration",
    "has",
    "exists",
    "all",
];

/// A pattern that needs more is a mistake.
const MAX_REGEX_BYTES: usize = 1 << 20;
