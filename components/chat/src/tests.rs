use super::*;

#[test]
fn the_page_works_under_its_own_policy() {
    let [html, _, js] = FILES.each_ref().map(|file| file.body);
    for forbidden in [
        " style=",
        "<style",
        "javascript:",
        " on",
        "http://",
        "https://",
    ] {
        let html = html.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !html.contains(forbidden),
            "{forbidden:?} is cut off by the policy"
        );
    }
    for (_, rest) in html
        .match_indices("<script")
        .map(|(at, _)| html.split_at(at))
    {
        assert!(rest.starts_with("<script type=\"module\" src=\"chat.js\"></script>"));
    }
    for sink in [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
    ] {
        assert!(
            !js.contains(sink),
            "{sink} would make a message part of the page"
        );
    }
}

#[test]
fn each_file_has_a_validator_of_its_own() {
    let [html, css, js] = FILES.each_ref().map(File::etag);
    assert!(html != css && css != js && js != html);
}
