use super::*;

use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn the_page_works_under_its_own_policy() {
    for file in &FILES {
        let body = file.body.replace("http://www.w3.org/2000/svg", "");
        let forbidden: &[&str] = match file.content_type.split_once(';') {
            Some(("text/html", _)) => &[" style=", "<style", "javascript:", " on", "//"],
            Some(("text/css", _)) => &["@import", "url("],
            // What would make a message a part of the page.
            _ => &[
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "setHTML",
                "document.write",
                "eval(",
                "Function(",
            ],
        };
        for one in forbidden {
            assert!(!body.contains(one), "{one:?} in {}", file.path);
        }
    }
    let html = FILES[0].body;
    assert_eq!(
        html.match_indices("<script").count(),
        html.match_indices("<script type=\"module\" src=\"app.js\"></script>")
            .count()
    );
}

#[test]
fn each_file_of_the_page_is_served_and_no_other() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
    let mut there = BTreeSet::new();
    for within in ["", "words/"] {
        for entry in std::fs::read_dir(folder.join(within)).expect("the folder is there") {
            let entry = entry.expect("its entries can be read");
            if entry.path().is_file() {
                let name = entry.file_name().into_string().expect("a name in UTF-8");
                there.insert(format!("/{within}{name}").replace("/index.html", "/"));
            }
        }
    }
    let served: BTreeSet<_> = FILES.iter().map(|file| file.path.to_owned()).collect();
    assert_eq!(served, there);
    assert_eq!(served.len(), FILES.len());
}
