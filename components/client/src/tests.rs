use super::*;

/// The application as it ships.
const MANIFEST: &str = include_str!("../../../spin.toml");

#[test]
fn every_script_has_a_route() {
    for File { path, .. } in &FILES {
        let trigger = format!("[[trigger.http]]\nroute = \"{path}\"\ncomponent = \"client\"\n");
        assert!(MANIFEST.contains(&trigger), "{path}");
    }
}

#[test]
fn each_is_there_as_a_module_and_as_a_classic_script() {
    for (pair, name) in FILES.chunks(2).zip(["connect", "conversation"]) {
        let [module, classic] = [&pair[0], &pair[1]].map(|file| file.body);
        assert!(module.contains("export{") && module.contains(&format!(" as {name}")));
        assert!(!classic.contains("export{") && classic.contains(".witter="));
        assert!(classic.contains(&format!("{name}:")));
    }
}
