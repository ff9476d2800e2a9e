use super::*;

/// The files of the folder, by the paths that they are served at.
fn paths() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be read").file_name())
        .map(|name| match name.to_str().expect("names are UTF-8") {
            "index.html" => "/examples/".to_owned(),
            name => format!("/examples/{name}"),
        })
        .collect()
}

#[test]
fn every_file_of_the_folder_is_served() {
    let mut there = paths();
    let mut served: Vec<_> = FILES.iter().map(|file| file.path).collect();
    there.sort_unstable();
    served.sort_unstable();
    assert_eq!(there, served);
}

#[test]
fn the_index_leads_to_every_page() {
    let index = FILES[0].body;
    for file in &FILES[2..] {
        let name = file.path.trim_start_matches("/examples/");
        assert!(index.contains(&format!("href=\"{name}\"")), "{name}");
    }
}

#[test]
fn a_message_is_never_made_part_of_a_page() {
    for file in &FILES {
        for sink in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
        ] {
            assert!(!file.body.contains(sink), "{sink} in {}", file.path);
        }
    }
}

#[test]
fn a_page_is_one_file_besides_its_style() {
    for file in &FILES {
        for elsewhere in ["<script src", "@import", "url(", " style=", "<style"] {
            assert!(
                !file.body.contains(elsewhere),
                "{elsewhere} in {}",
                file.path
            );
        }
    }
}

#[test]
fn a_script_ends_where_it_should() {
    for file in &FILES[2..] {
        // Even in a comment it would end the script.
        assert_eq!(file.body.matches("</script").count(), 1, "{}", file.path);
        assert!(
            file.body.ends_with("</script>\n</body>\n</html>\n"),
            "{}",
            file.path
        );
    }
}
