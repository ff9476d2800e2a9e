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
fn one_is_a_module_and_the_other_a_classic_script() {
    let [module, classic] = FILES.each_ref().map(|file| file.body);
    assert!(module.contains("export{") && module.contains(" as connect"));
    assert!(!classic.contains("export{") && classic.contains(".witter="));
}
