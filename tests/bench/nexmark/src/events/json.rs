//! Events as JSON. Texts are letters, digits and punctuation that JSON leaves alone, so nothing is escaped.

use std::io::Write;

use super::{Auction, Bid, Event, Person};

pub fn write(event: &Event, out: &mut Vec<u8>) {
    match event {
        Event::Person(person) => {
            out.extend_from_slice(b"{\"event_type\":0,\"person\":");
            self::person(person, out);
            out.extend_from_slice(b",\"auction\":null,\"bid\":null}");
        }
        Event::Auction(auction) => {
            out.extend_from_slice(b"{\"event_type\":1,\"person\":null,\"auction\":");
            self::auction(auction, out);
            out.extend_from_slice(b",\"bid\":null}");
        }
        Event::Bid(bid) => {
            out.extend_from_slice(b"{\"event_type\":2,\"person\":null,\"auction\":null,\"bid\":");
            self::bid(bid, out);
            out.push(b'}');
        }
    }
}

fn person(person: &Person, out: &mut Vec<u8>) {
    let Person { id, name, email_address, credit_card, city, state, time_ms, extra } = person;
    let written = write!(
        out,
        r#"{{"id":{id},"name":"{name}","emailAddress":"{email_address}","creditCard":"{credit_card}","city":"{city}","state":"{state}","dateTime":"{}","extra":"{extra}"}}"#,
        rfc3339(*time_ms)
    );
    written.expect("memory takes it");
}

fn auction(auction: &Auction, out: &mut Vec<u8>) {
    let Auction { id, item_name, description, initial_bid, reserve, time_ms, expires_ms, seller, category, extra } =
        auction;
    let written = write!(
        out,
        r#"{{"id":{id},"itemName":"{item_name}","description":"{description}","initialBid":{initial_bid},"reserve":{reserve},"dateTime":"{}","expires":"{}","seller":{seller},"category":{category},"extra":"{extra}"}}"#,
        rfc3339(*time_ms),
        rfc3339(*expires_ms)
    );
    written.expect("memory takes it");
}

fn bid(bid: &Bid, out: &mut Vec<u8>) {
    let Bid { auction, bidder, price, channel, url, time_ms, extra } = bid;
    let written = write!(
        out,
        r#"{{"auction":{auction},"bidder":{bidder},"price":{price},"channel":"{channel}","url":"{url}","dateTime":"{}","extra":"{extra}"}}"#,
        rfc3339(*time_ms)
    );
    written.expect("memory takes it");
}

const DAY_MS: i64 = 86_400_000;

/// A window's bound, in microseconds: `2015-07-15T07:59:50.000000Z`.
pub fn rfc3339_us(time_ms: i64) -> String {
    rfc3339(time_ms).replace('Z', "000Z")
}

/// `2015-07-15T07:59:50.000Z`.
pub fn rfc3339(time_ms: i64) -> String {
    let (year, month, day) = date(time_ms.div_euclid(DAY_MS));
    let of_day = time_ms.rem_euclid(DAY_MS);
    let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", of_day % 1000)
}

/// Year, month and day of a day since 1970-01-01: Hinnant's `civil_from_days`.
fn date(day: i64) -> (i64, i64, i64) {
    let shifted = day + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn times_are_written_as_rfc_3339() {
        assert_eq!(rfc3339(super::super::BASE_TIME_MS), "2015-07-15T07:59:50.000Z");
        assert_eq!(rfc3339(951_782_400_123), "2000-02-29T00:00:00.123Z");
    }
}
