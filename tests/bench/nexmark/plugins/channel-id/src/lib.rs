//! Nexmark's q21: a channel's number, fixed for the large ones, `(&|^)channel_id=([^&]*)` of the URL for others; bids
//! that have neither are left out.

use weir_sdk::prelude::*;

#[derive(Input)]
struct Bid<'a> {
    channel: Option<&'a str>,
    url: Option<&'a str>,
}

#[derive(Output)]
struct Numbered {
    channel_id: String,
}

#[transform]
fn channel_id(bid: Bid) -> Option<Numbered> {
    let channel = bid.channel.unwrap_or_default();
    let fixed = [("apple", "0"), ("google", "1"), ("facebook", "2"), ("baidu", "3")];
    let number = fixed.iter().find(|(name, _)| channel.eq_ignore_ascii_case(name)).map(|(_, number)| *number);
    let number = number.or_else(|| in_url(bid.url.unwrap_or_default()))?;
    Some(Numbered { channel_id: number.to_owned() })
}

fn in_url(url: &str) -> Option<&str> {
    url.split('&').find_map(|part| part.strip_prefix("channel_id="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_numbered_by_name_or_else_by_url() {
        let number = |channel, url| {
            channel_id(Bid { channel: Some(channel), url: Some(url) }).map(|numbered| numbered.channel_id)
        };
        assert_eq!(number("Google", ""), Some("1".to_owned()));
        assert_eq!(number("channel-7", "https://a/b?query=1&channel_id=42&x=1"), Some("42".to_owned()));
        assert_eq!(number("channel-7", "channel_id=5"), Some("5".to_owned()));
        assert_eq!(number("channel-7", "https://a/b?my_channel_id=5"), None);
    }
}
