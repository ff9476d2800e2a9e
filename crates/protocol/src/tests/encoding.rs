use crate::accepts_gzip;
use proptest::prelude::*;

#[test]
fn gzip_is_for_who_takes_it() {
    for accepts in [
        "gzip",
        "GZip",
        "x-gzip",
        "gzip, deflate, br, zstd",
        "deflate,gzip;q=0.001",
        "br ; q=1 , gzip ; q = 0.5",
        "gzip;Q=1.0",
        "*",
        "*;q=0.1",
        "identity;q=0, *",
        "gzip, *;q=0",
        "*;q=0, gzip",
    ] {
        assert!(accepts_gzip(accepts), "{accepts}");
    }
    for accepts in [
        "",
        ",",
        "identity",
        "deflate, br",
        "gzip;q=0",
        "gzip;q=0.000",
        "gzip; Q=0",
        "gzip;q=0, *",
        "*, gzip;q=0",
        "*;q=0",
        "gzip;q=",
        "gzip;q=no",
        "gzip;q=-1",
        "gzip;q=NaN",
        "xgzip",
        "gzip2",
    ] {
        assert!(!accepts_gzip(accepts), "{accepts}");
    }
}

proptest! {
    #[test]
    fn any_header_is_read(text in prop_oneof![any::<String>(), "([gzip*]|;|q=|[0-9.,; ]){0,12}"]) {
        let _ = accepts_gzip(&text);
    }
}
