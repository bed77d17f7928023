//! Which aggregates there are: their names, what they take, what they give, what they keep.

use arrow_schema::DataType;

use super::accumulator::Keep;
use super::argument::{Lane, RankLane};
use super::cell::{
    Cells, Column, DISTINCT_BYTES_MAX, Distinct, Extreme, HyperLogLog, LIST_BYTES_MAX, List, ListSettings, Moments,
    MomentsResult, Order, Quantile, QuantileSettings,
};
use super::value::Held;
use super::{AVG_DIGITS, MAX_DIGITS, SUM_DIGITS};
use crate::expression::type_name;

/// The most values of `top` and, where it is bounded, of `collect`.
pub const LISTED_MAX: u32 = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AggregateKind {
    Count,
    Sum,
    Avg,
    Min,
    Max,
    CountDistinct,
    ApproxCountDistinct,
    First,
    Last,
    /// The value of the row with the smallest of another expression.
    MinBy,
    MaxBy,
    Stddev,
    StddevPop,
    Variance,
    VarPop,
    Median,
    Percentile {
        /// 950,000 is the 95th percentile.
        millionths: u32,
    },
    Top {
        values: u32,
    },
    Collect {
        /// The first so many; none: all, within [`LIST_BYTES_MAX`].
        values: Option<u32>,
    },
    BoolAnd,
    BoolOr,
    /// By a user's function, which says everything else of it; without a name, so no call is one.
    Plugin,
}

use AggregateKind as K;

impl AggregateKind {
    /// Every kind that a call names; those that need a number hold none that means anything.
    pub const ALL: [Self; 21] = [
        K::Count,
        K::Sum,
        K::Avg,
        K::Min,
        K::Max,
        K::CountDistinct,
        K::ApproxCountDistinct,
        K::First,
        K::Last,
        K::MinBy,
        K::MaxBy,
        K::Stddev,
        K::StddevPop,
        K::Variance,
        K::VarPop,
        K::Median,
        K::Percentile { millionths: 0 },
        K::Top { values: 0 },
        K::Collect { values: None },
        K::BoolAnd,
        K::BoolOr,
    ];

    /// The name in manifests.
    pub fn name(self) -> &'static str {
        match self {
            K::Count => "count",
            K::Sum => "sum",
            K::Avg => "avg",
            K::Min => "min",
            K::Max => "max",
            K::CountDistinct => "count_distinct",
            K::ApproxCountDistinct => "approx_count_distinct",
            K::First => "first",
            K::Last => "last",
            K::MinBy => "min_by",
            K::MaxBy => "max_by",
            K::Stddev => "stddev",
            K::StddevPop => "stddev_pop",
            K::Variance => "variance",
            K::VarPop => "var_pop",
            K::Median => "median",
            K::Percentile { .. } => "percentile",
            K::Top { .. } => "top",
            K::Collect { .. } => "collect",
            K::BoolAnd => "bool_and",
            K::BoolOr => "bool_or",
            K::Plugin => "plugin",
        }
    }

    /// The kind of that name; what stands behind the argument is still to be given to [`AggregateKind::with`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The kind with the number that stands behind its argument: `0.95` in `percentile(price, 0.95)`.
    ///
    /// # Errors
    /// When the kind needs one, takes none, or not this one.
    pub fn with(self, number: Option<&str>) -> Result<Self, String> {
        let name = self.name();
        match (self, number) {
            (K::Percentile { .. }, Some(text)) => Ok(K::Percentile { millionths: millionths(text)? }),
            (K::Percentile { .. }, None) => {
                Err("`percentile` needs a share between 0 and 1: percentile(column, 0.95)".to_owned())
            }
            (K::Top { .. }, Some(text)) => Ok(K::Top { values: listed(name, text)? }),
            (K::Top { .. }, None) => Err("`top` needs how many values to keep: top(column, 5)".to_owned()),
            (K::Collect { .. }, Some(text)) => Ok(K::Collect { values: Some(listed(name, text)?) }),
            (kind, None) => Ok(kind),
            (_, Some(text)) => Err(format!("`{name}` takes one argument; `, {text}` is one too many")),
        }
    }

    /// Whether its second argument is what its rows are ordered by.
    pub fn is_ranked(self) -> bool {
        matches!(self, K::MinBy | K::MaxBy)
    }

    /// The width in which it takes values of a type.
    pub(super) fn lane(self, argument: &DataType) -> Lane {
        match self {
            K::Count => Lane::Rows,
            K::CountDistinct | K::ApproxCountDistinct => Lane::Canonical,
            K::Stddev | K::StddevPop | K::Variance | K::VarPop | K::Median | K::Percentile { .. } => Lane::F64,
            _ => Lane::of(argument),
        }
    }

    /// The most bytes that it keeps per key, where it is bounded by them.
    pub(super) fn bytes_max(self) -> Option<usize> {
        match self {
            K::CountDistinct => Some(DISTINCT_BYTES_MAX),
            K::Top { .. } | K::Collect { .. } => Some(LIST_BYTES_MAX),
            _ => None,
        }
    }

    /// Whether a key that has rows can still be without a result: not so for those that count.
    pub(super) fn counts(self) -> bool {
        matches!(self, K::Count | K::CountDistinct | K::ApproxCountDistinct)
    }

    /// What of it stored state depends on: a percentile's share is not part of it.
    pub(super) fn state_name(self) -> String {
        match self {
            K::Top { values } => format!("top {values}"),
            K::Collect { values: Some(values) } => format!("collect {values}"),
            K::Stddev | K::StddevPop | K::Variance | K::VarPop => "moments".to_owned(),
            K::Median | K::Percentile { .. } => "quantiles".to_owned(),
            kind => kind.name().to_owned(),
        }
    }

    /// The column of a kind whose state is more than a number.
    pub(super) fn cells(self, lane: Lane, argument: DataType, rank: RankLane) -> Box<dyn Column> {
        let moments = |sample, root| Cells::<Moments>::boxed(MomentsResult { sample, root });
        let quantile = |millionths| Cells::<Quantile>::boxed(QuantileSettings { millionths });
        let list = |order, most| {
            let settings = ListSettings { order, most, data_type: argument };
            by_lane(lane, ListOf(settings))
        };
        match self {
            K::CountDistinct => Cells::<Distinct>::boxed(()),
            K::ApproxCountDistinct => Cells::<HyperLogLog>::boxed(()),
            K::First | K::MinBy => by_lane(lane, ExtremeOf(Keep::Smaller, rank)),
            K::Last | K::MaxBy => by_lane(lane, ExtremeOf(Keep::Larger, rank)),
            K::Stddev => moments(true, true),
            K::StddevPop => moments(false, true),
            K::Variance => moments(true, false),
            K::VarPop => moments(false, false),
            K::Median => quantile(500_000),
            K::Percentile { millionths } => quantile(millionths),
            K::Top { values } => list(Order::Largest, values as usize),
            K::Collect { values } => list(Order::Earliest, values.map_or(usize::MAX, |values| values as usize)),
            K::Count | K::Sum | K::Avg | K::Min | K::Max | K::BoolAnd | K::BoolOr | K::Plugin => {
                unreachable!("`{}` keeps something else a slot", self.name())
            }
        }
    }
}

/// A column of kept values, for any width.
trait KeptOf {
    fn column<T: Held>(self) -> Box<dyn Column>;
}

struct ExtremeOf(Keep, RankLane);

impl KeptOf for ExtremeOf {
    fn column<T: Held>(self) -> Box<dyn Column> {
        match self.1 {
            RankLane::I64 => Cells::<Extreme<i64, T>>::boxed(self.0),
            RankLane::I128 => Cells::<Extreme<i128, T>>::boxed(self.0),
            RankLane::Bytes => Cells::<Extreme<Box<[u8]>, T>>::boxed(self.0),
        }
    }
}

struct ListOf(ListSettings);

impl KeptOf for ListOf {
    fn column<T: Held>(self) -> Box<dyn Column> {
        Cells::<List<T>>::boxed(self.0)
    }
}

fn by_lane(lane: Lane, kept: impl KeptOf) -> Box<dyn Column> {
    match lane {
        Lane::U64 => kept.column::<u64>(),
        Lane::F64 => kept.column::<f64>(),
        Lane::I128 => kept.column::<i128>(),
        Lane::Bytes => kept.column::<Box<[u8]>>(),
        Lane::I64 | Lane::Rows | Lane::Canonical => kept.column::<i64>(),
    }
}

/// A share such as `0.95`, to six digits.
fn millionths(text: &str) -> Result<u32, String> {
    let refused = || format!("`{text}` is no share between 0 and 1 of at most 6 digits: percentile(column, 0.95)");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{fraction:0<6}");
    let is_number = !text.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse().ok().filter(|_| is_number && fraction.len() <= 6);
    number.filter(|number| *number <= 1_000_000).ok_or_else(refused)
}

fn listed(name: &str, text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (1..=LISTED_MAX).contains(number));
    number.ok_or_else(|| format!("`{name}` keeps 1 to {LISTED_MAX} values, not `{text}`: {name}(column, 5)"))
}

/// The table at the top of [`super`].
///
/// # Errors
/// What `kind` needs, when it cannot take such an argument. [`DataType::Null`] stands for no argument.
pub fn result_type(kind: AggregateKind, argument: &DataType) -> Result<DataType, String> {
    let name = kind.name();
    let is_decimal = matches!(argument, DataType::Decimal128(_, _));
    let is_number = argument.is_integer() || argument.is_floating() || is_decimal;
    match (kind, argument) {
        (K::Count, _) => Ok(DataType::Int64),
        (_, DataType::Null) => Err(format!("`{name}` needs something to aggregate: {name}(column)")),
        (K::CountDistinct | K::ApproxCountDistinct, _) => Ok(DataType::Int64),
        (K::Sum, DataType::Decimal128(p, s)) => Ok(DataType::Decimal128(MAX_DIGITS.min(p + SUM_DIGITS), *s)),
        (K::Avg, DataType::Decimal128(p, s)) => {
            let scale = (MAX_DIGITS as i8).min(s + AVG_DIGITS as i8);
            Ok(DataType::Decimal128(MAX_DIGITS.min(p + AVG_DIGITS), scale))
        }
        (K::Sum, other) if other.is_signed_integer() => Ok(DataType::Int64),
        (K::Sum, other) if other.is_unsigned_integer() => Ok(DataType::UInt64),
        (K::Sum | K::Avg, other) if other.is_integer() || other.is_floating() => Ok(DataType::Float64),
        (K::Min | K::Max | K::First | K::Last | K::MinBy | K::MaxBy, other) => Ok(other.clone()),
        (K::BoolAnd | K::BoolOr, DataType::Boolean) => Ok(DataType::Boolean),
        (K::BoolAnd | K::BoolOr, other) => Err(format!("`{name}` takes bool, not {}", type_name(other))),
        (K::Top { .. } | K::Collect { .. }, DataType::Binary) => {
            Err(format!("`{name}` gives JSON text, which cannot hold binary"))
        }
        (K::Top { .. } | K::Collect { .. }, _) => Ok(DataType::Utf8),
        (K::Stddev | K::StddevPop | K::Variance | K::VarPop | K::Median | K::Percentile { .. }, _) if is_number => {
            Ok(DataType::Float64)
        }
        (_, other) => Err(format!("`{name}` takes numbers, not {}", type_name(other))),
    }
}
