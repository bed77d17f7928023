//! Nexmark's q22: the third, fourth and fifth of a URL's parts between slashes, the host's first folder being the third
//! as counted from 0.

use weir_sdk::prelude::*;

#[derive(Input)]
struct Bid<'a> {
    url: Option<&'a str>,
}

#[derive(Output, Debug, PartialEq)]
struct Folders {
    dir1: Option<String>,
    dir2: Option<String>,
    dir3: Option<String>,
}

#[transform]
fn split_url(bid: Bid) -> Folders {
    let mut parts = bid.url.unwrap_or_default().split('/').skip(3).map(str::to_owned);
    Folders { dir1: parts.next(), dir2: parts.next(), dir3: parts.next() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_follow_the_host() {
        let folders = |url| split_url(Bid { url: Some(url) });
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(folders("https://host/a/b/c/d"), Folders { dir1: some("a"), dir2: some("b"), dir3: some("c") });
        assert_eq!(folders("https://host"), Folders { dir1: None, dir2: None, dir3: None });
    }
}
