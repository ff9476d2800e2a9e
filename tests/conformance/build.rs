//! Draws the list of transports from the manifest that ships, so that a transport of the app which the
//! corpus does not know leaves a `match` without an arm: the tests then do not compile.

use std::path::Path;
use std::{env, fs};

/// What stands below the base path and is no way of receiving.
const NOT_RECEIVING: [&str; 11] = [
    "client.es5.js",
    "client.js",
    "command",
    "jsonp-command",
    "jsonp-publish",
    "jsonp-session",
    "messaging.es5.js",
    "messaging.js",
    "publish",
    "session",
    "webhook",
];

fn main() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spin.toml");
    println!("cargo::rerun-if-changed={}", manifest.display());
    let manifest = fs::read_to_string(&manifest).expect("spin.toml can be read");
    let manifest: toml::Table = manifest.parse().expect("spin.toml is TOML");
    let mut segments: Vec<&str> = manifest["trigger"]["http"]
        .as_array()
        .expect("the manifest has HTTP triggers")
        .iter()
        .filter_map(|trigger| trigger["route"].as_str()?.strip_prefix("/witter/"))
        .filter(|segment| !NOT_RECEIVING.contains(segment))
        .collect();
    segments.sort_unstable();
    let variants: Vec<String> = segments.iter().map(|segment| variant(segment)).collect();

    let mut code = "/// A way of receiving that the shipped manifest mounts below `/witter/`.\n\
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]\npub enum Transport {\n"
        .to_owned();
    for (segment, variant) in segments.iter().zip(&variants) {
        code += &format!("    /// `/witter/{segment}`\n    {variant},\n");
    }
    code += "}\n\nimpl Transport {\n    /// All of them.\n    pub const ALL: &[Self] = &[";
    code += &variants
        .iter()
        .map(|variant| format!("Self::{variant}"))
        .collect::<Vec<_>>()
        .join(", ");
    code += "];\n\n    /// Its name, which is also the last segment of its route.\n    \
        #[must_use]\n    pub const fn name(self) -> &'static str {\n        match self {\n";
    for (segment, variant) in segments.iter().zip(&variants) {
        code += &format!("            Self::{variant} => {segment:?},\n");
    }
    code += "        }\n    }\n}\n";
    let out = env::var_os("OUT_DIR").expect("cargo names the directory");
    fs::write(Path::new(&out).join("transport.rs"), code).expect("the directory takes a file");
}

/// `long-polling` as `LongPolling`.
fn variant(segment: &str) -> String {
    let capitalize = |word: &str| word[..1].to_uppercase() + &word[1..];
    segment.split('-').map(capitalize).collect()
}
