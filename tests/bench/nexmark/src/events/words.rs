//! The suite's names, cities, channels.

use super::random::Random;

pub const FIRST_NAMES: [&str; 11] =
    ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
pub const LAST_NAMES: [&str; 9] =
    ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];
pub const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];
pub const CITIES: [&str; 10] =
    ["Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"];

const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];

/// One of so many bids does not come through a hot channel.
const HOT_CHANNEL_RATIO: u64 = 2;

const CHANNELS: u64 = 10_000;

/// One of so many URLs of other channels does not name its channel.
const CHANNEL_ID_RATIO: u64 = 10;

/// A bid's channel and URL.
pub fn channel(random: &mut Random) -> (String, String) {
    if random.below(HOT_CHANNEL_RATIO) > 0 {
        return (random.pick(&HOT_CHANNELS).to_owned(), base_url(random));
    }
    let number = random.below(CHANNELS);
    let mut url = base_url(random);
    if random.below(CHANNEL_ID_RATIO) > 0 {
        url.push_str(&format!("&channel_id={}", (number as u32).reverse_bits() >> 1));
    }
    (format!("channel-{number}"), url)
}

fn base_url(random: &mut Random) -> String {
    let [first, second, third] = [(); 3].map(|()| random.text(5));
    format!("https://www.nexmark.com/{first}/{second}/{third}/item.htm?query=1")
}
