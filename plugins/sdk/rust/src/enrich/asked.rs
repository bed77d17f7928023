//! What a row asks, and what it gets for it: requests of services, keys of tables, or both.
//!
//! Invariant: each row that asked has one answer, in the order of the rows; a row is added to the questions of a batch whole
//! or not at all.

use crate::http::{self, FetchError, Fetched, Request, Response};
use crate::reject::Reject;
use crate::tables::{Keys, LookupKey, OpenTable, TableSpec};

/// What a function for questions can return: something that is [`Asked`], plain or in a `Result<_, Reject>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what a function for questions can return",
    note = "it returns Request or a struct with #[derive(LookupKey)], an Option or a Vec of one, a tuple of two or three of these, or Result<_, Reject>"
)]
pub trait Asks {
    type Asked: Asked;

    /// # Errors
    /// The row's reject.
    fn asked(self) -> Result<Self::Asked, Reject>;
}

/// What the other function gets for it.
pub type AnswerOf<Q> = <<Q as Asks>::Asked as Asked>::Answer;

impl<A: Asked> Asks for A {
    type Asked = A;

    fn asked(self) -> Result<A, Reject> {
        Ok(self)
    }
}

impl<A: Asked> Asks for Result<A, Reject> {
    type Asked = A;

    fn asked(self) -> Result<A, Reject> {
        self
    }
}

/// What a row asks, of services or tables.
pub trait Asked: Sized {
    /// What the row gets.
    type Answer;
    /// What all rows of a batch ask.
    type Questions;

    fn tables() -> Vec<TableSpec>;

    /// `tables` are those of [`tables`](Self::tables), in that order.
    fn questions(tables: &[OpenTable]) -> Self::Questions;

    /// # Errors
    /// When it cannot be asked.
    fn check(&self, _: &Self::Questions) -> Result<(), Reject> {
        Ok(())
    }

    fn add(self, questions: &mut Self::Questions);

    /// Asks everything; an answer for each row that asked, in their order.
    fn ask(questions: Self::Questions) -> impl Iterator<Item = Result<Self::Answer, Reject>>;
}

/// The requests of a batch and how many each row makes.
#[derive(Default)]
pub struct Requests {
    requests: Vec<Request>,
    counts: Vec<usize>,
}

impl Requests {
    fn push(&mut self, asked: impl IntoIterator<Item = Request>) {
        let before = self.requests.len();
        self.requests.extend(asked);
        self.counts.push(self.requests.len() - before);
    }

    fn ask(self) -> impl Iterator<Item = Result<Answers, Reject>> {
        let mut answers = http::fetch(self.requests).into_iter();
        self.counts.into_iter().map(move |count| Ok(Answers(answers.by_ref().take(count).collect())))
    }
}

macro_rules! asked_of_services {
    ($($asks:ty, $requests:expr;)*) => {$(
        impl Asked for $asks {
            type Answer = Answers;
            type Questions = Requests;

            fn tables() -> Vec<TableSpec> {
                Vec::new()
            }

            fn questions(_: &[OpenTable]) -> Requests {
                Requests::default()
            }

            fn add(self, questions: &mut Requests) {
                let requests: fn(Self) -> Vec<Request> = $requests;
                questions.push(requests(self));
            }

            fn ask(questions: Requests) -> impl Iterator<Item = Result<Answers, Reject>> {
                questions.ask()
            }
        }
    )*};
}
asked_of_services! {
    Request, |request| vec![request];
    Option<Request>, |request| request.into_iter().collect();
    Vec<Request>, |requests| requests;
}

/// The keys of a batch and how many each row asks.
pub struct KeysOfRows<K: LookupKey> {
    keys: Keys<K>,
    counts: Vec<usize>,
}

macro_rules! asked_of_a_table {
    ($($asks:ty => $answer:ty, $answer_of:expr;)*) => {$(
        impl<K: LookupKey> Asked for $asks {
            type Answer = $answer;
            type Questions = KeysOfRows<K>;

            fn tables() -> Vec<TableSpec> {
                vec![TableSpec::of::<K>()]
            }

            fn questions(tables: &[OpenTable]) -> KeysOfRows<K> {
                KeysOfRows { keys: Keys::new(&tables[0]), counts: Vec::new() }
            }

            fn check(&self, questions: &KeysOfRows<K>) -> Result<(), Reject> {
                self.iter_keys().try_for_each(|key| questions.keys.check(key))
            }

            fn add(self, questions: &mut KeysOfRows<K>) {
                let mut count = 0;
                self.into_keys().for_each(|key| {
                    questions.keys.push(key);
                    count += 1;
                });
                questions.counts.push(count);
            }

            fn ask(questions: KeysOfRows<K>) -> impl Iterator<Item = Result<$answer, Reject>> {
                let mut answers = questions.keys.ask();
                questions.counts.into_iter().map(move |count| {
                    // All of a row's answers are taken, whatever one of them is.
                    let of_row: Vec<Result<Option<K::Row>, Reject>> = answers.by_ref().take(count).collect();
                    let of_row = of_row.into_iter().collect::<Result<Vec<_>, _>>()?;
                    let answer_of: fn(Vec<Option<K::Row>>) -> $answer = $answer_of;
                    Ok(answer_of(of_row))
                })
            }
        }
    )*};
}
asked_of_a_table! {
    K => Option<K::Row>, |rows| rows.into_iter().next().flatten();
    Option<K> => Option<K::Row>, |rows| rows.into_iter().next().flatten();
    Vec<K> => Vec<Option<K::Row>>, |rows| rows;
}

/// One key, none or several.
trait SomeKeys<K> {
    fn iter_keys<'a>(&'a self) -> impl Iterator<Item = &'a K>
    where
        K: 'a;
    fn into_keys(self) -> impl Iterator<Item = K>;
}

impl<K: LookupKey> SomeKeys<K> for K {
    fn iter_keys<'a>(&'a self) -> impl Iterator<Item = &'a K>
    where
        K: 'a,
    {
        std::iter::once(self)
    }

    fn into_keys(self) -> impl Iterator<Item = K> {
        std::iter::once(self)
    }
}

macro_rules! some_keys {
    ($($asks:ty),*) => {$(
        impl<K> SomeKeys<K> for $asks {
            fn iter_keys<'a>(&'a self) -> impl Iterator<Item = &'a K>
            where
                K: 'a,
            {
                self.iter()
            }

            fn into_keys(self) -> impl Iterator<Item = K> {
                self.into_iter()
            }
        }
    )*};
}
some_keys!(Option<K>, Vec<K>);

macro_rules! asked_together {
    ($($asks:ident $at:tt),*) => {
        impl<$($asks: Asked),*> Asked for ($($asks,)*) {
            type Answer = ($($asks::Answer,)*);
            type Questions = ($($asks::Questions,)*);

            fn tables() -> Vec<TableSpec> {
                let mut tables = Vec::new();
                $(tables.extend($asks::tables());)*
                tables
            }

            fn questions(tables: &[OpenTable]) -> Self::Questions {
                let mut rest = tables;
                ($({
                    let (own, behind) = rest.split_at($asks::tables().len());
                    rest = behind;
                    let _ = rest;
                    $asks::questions(own)
                },)*)
            }

            fn check(&self, questions: &Self::Questions) -> Result<(), Reject> {
                $(self.$at.check(&questions.$at)?;)*
                Ok(())
            }

            fn add(self, questions: &mut Self::Questions) {
                $(self.$at.add(&mut questions.$at);)*
            }

            fn ask(questions: Self::Questions) -> impl Iterator<Item = Result<Self::Answer, Reject>> {
                let mut answers = ($($asks::ask(questions.$at),)*);
                std::iter::from_fn(move || {
                    let of_row = ($(answers.$at.next()?,)*);
                    Some((|| Ok(($(of_row.$at?,)*)))())
                })
            }
        }
    };
}
asked_together!(A 0, B 1);
asked_together!(A 0, B 1, C 2);

/// The answers of services to what one row asked, in the order of its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers(pub Vec<Fetched>);

impl Answers {
    /// The answer of a row that asks one thing.
    ///
    /// # Errors
    /// Why there is none.
    ///
    /// # Panics
    /// When the row asked nothing.
    pub fn one(self) -> Result<Response, FetchError> {
        self.0.into_iter().next().expect("the row asked nothing")
    }

    /// The answer of a row that may ask one thing.
    ///
    /// # Errors
    /// Why there is none.
    pub fn optional(self) -> Result<Option<Response>, FetchError> {
        self.0.into_iter().next().transpose()
    }
}
