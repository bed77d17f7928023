//! One shop event and the JSON that it is written as.

use super::super::text::{Text, push_fixed, push_hex, push_rfc3339_ms};
use super::{Draws, EventOptions, USUAL_BYTES, mix};

const CATEGORIES: [&str; 12] = [
    "books",
    "electronics",
    "fashion",
    "home",
    "toys",
    "sports",
    "garden",
    "beauty",
    "grocery",
    "music",
    "office",
    "pets",
];
const COUNTRIES: [(&str, &str); 8] = [
    ("DE", "EUR"),
    ("FR", "EUR"),
    ("IT", "EUR"),
    ("ES", "EUR"),
    ("GB", "GBP"),
    ("US", "USD"),
    ("CH", "CHF"),
    ("PL", "PLN"),
];
const DEVICES: [&str; 4] = ["mobile", "desktop", "tablet", "app"];
/// Kinds by their share of 64 events.
const KINDS: [(&str, u32); 6] =
    [("page_view", 34), ("cart_add", 10), ("cart_remove", 2), ("order", 8), ("payment", 8), ("refund", 2)];
const NOISY_KINDS: [&str; 6] = [" Page_View", "CART_ADD ", "Cart_Remove", "ORDER", " Payment ", "Refund"];

pub(super) struct Event {
    pub(super) id: u64,
    pub(super) kind: Text,
    pub(super) occurred_us: i64,
    pub(super) category: &'static str,
    pub(super) quantity: u64,
    pub(super) unit_cents: u64,
    /// Hundredths of `currency`; `None` for events without money.
    pub(super) amount_cents: Option<u64>,
    pub(super) currency: Text,
    pub(super) user: u64,
    pub(super) session: u64,
    pub(super) product: u64,
    pub(super) country: &'static str,
    pub(super) device: &'static str,
}

impl Event {
    pub(super) fn new(draws: &Draws, index: u64, options: &EventOptions) -> Self {
        let (kind_name, noisy, paid) = kind(draws);
        // The smaller of two numbers: few users and products are seen often, most seldom.
        let user = ((draws.person >> 8) % 20_000).min((draws.person >> 24) % 20_000);
        let product = (draws.goods % 2_000).min((draws.goods >> 16) % 2_000);
        let taste = mix(product);
        let quantity = 1 + (draws.goods >> 40) % 8 / 3;
        let unit_cents = 99 + taste % 40_000;
        let (country, currency) = COUNTRIES[(mix(user) % 8) as usize];
        let disorder_us = u64::from(options.disorder_ms) * 1_000;
        // Three of four events come nearly in order.
        let reach = if draws.time & 3 == 0 { disorder_us } else { disorder_us / 16 };
        let behind = (draws.time >> 2) % (reach + 1);
        Self {
            id: draws.id,
            kind: Text::Plain(if noisy { NOISY_KINDS[kind_name] } else { KINDS[kind_name].0 }),
            occurred_us: options.start_us + options.elapsed_us(index) - behind as i64,
            category: CATEGORIES[(taste >> 32) as usize % CATEGORIES.len()],
            quantity,
            unit_cents,
            amount_cents: paid.then_some(quantity * unit_cents),
            currency: if paid { Text::Plain(currency) } else { Text::Null },
            user,
            session: mix(user ^ (index >> 16)) & 0xffff_ffff,
            product,
            country,
            device: DEVICES[(draws.person & 3) as usize],
        }
    }

    /// Gives an event money whatever its kind was.
    pub(super) fn price(&mut self, draws: &Draws, cents: u64) {
        if self.amount_cents.is_none() {
            self.kind = Text::Plain(if draws.detail & 1 == 0 { "payment" } else { "order" });
            self.currency = Text::Plain("EUR");
        }
        self.amount_cents = Some(cents);
    }

    /// Writes the event and answers its event time.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> i64 {
        self.write_head(out);
        self.write_time(out);
        self.write_category(out);
        push_fixed(self.quantity, 1, out);
        self.write_tail(out);
        // The text has milliseconds.
        self.occurred_us.div_euclid(1_000) * 1_000
    }

    pub(super) fn write_with_quantity(&self, quantity: &[u8], out: &mut Vec<u8>) {
        self.write_head(out);
        self.write_time(out);
        self.write_category(out);
        out.extend_from_slice(quantity);
        self.write_tail(out);
    }

    pub(super) fn write_without_time(&self, out: &mut Vec<u8>) {
        self.write_head(out);
        self.write_category(out);
        push_fixed(self.quantity, 1, out);
        self.write_tail(out);
    }

    fn write_head(&self, out: &mut Vec<u8>) {
        out.reserve(USUAL_BYTES + 32);
        out.extend_from_slice(b"{\"event_id\":\"");
        push_hex(self.id, 16, out);
        out.extend_from_slice(b"\",\"kind\":");
        self.kind.write(out);
    }

    fn write_time(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"occurred_at\":\"");
        push_rfc3339_ms(self.occurred_us, out);
        out.push(b'"');
    }

    fn write_category(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"category\":\"");
        out.extend_from_slice(self.category.as_bytes());
        out.extend_from_slice(b"\",\"quantity\":");
    }

    fn write_tail(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"amount\":");
        match self.amount_cents {
            Some(cents) => {
                out.push(b'"');
                push_fixed(cents / 100, 1, out);
                out.push(b'.');
                push_fixed(cents % 100, 2, out);
                out.push(b'"');
            }
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"currency\":");
        self.currency.write(out);
        out.extend_from_slice(b",\"user\":\"u");
        push_fixed(self.user, 6, out);
        out.extend_from_slice(b"\",\"session\":\"s");
        push_hex(self.session, 8, out);
        out.extend_from_slice(b"\",\"product\":\"p");
        push_fixed(self.product, 4, out);
        out.extend_from_slice(b"\",\"country\":\"");
        out.extend_from_slice(self.country.as_bytes());
        out.extend_from_slice(b"\",\"device\":\"");
        out.extend_from_slice(self.device.as_bytes());
        out.extend_from_slice(b"\"}");
    }
}

/// Number in [`KINDS`], whether it is written noisily, and whether money flows.
fn kind(draws: &Draws) -> (usize, bool, bool) {
    let mut draw = (draws.time >> 34) as u32 % 64;
    let mut number = 0;
    while draw >= KINDS[number].1 {
        draw -= KINDS[number].1;
        number += 1;
    }
    (number, (draws.time >> 44).is_multiple_of(32), number >= 3)
}
