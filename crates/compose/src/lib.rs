//! Plugs components into one another: how the build closes a component, and how the host closes an open
//! one with the policy that its manifest names.

use anyhow::{Context as _, Result};
use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions};

/// Fills the imports of `socket` with the exports of `plugs`, in their order, and gives the resulting
/// component. It exports what `socket` exports.
///
/// An import that no plug satisfies stays an import of the result, as do the imports of the plugs.
///
/// # Errors
///
/// Where an input is not a component, where no plug fits any import, and where two plugs fit one.
pub fn plug(socket: &[u8], plugs: &[&[u8]]) -> Result<Vec<u8>> {
    let mut graph = CompositionGraph::new();
    let mut register = |name: &str, component: &[u8]| {
        let package = Package::from_bytes(name, None, component, graph.types_mut())
            .with_context(|| format!("the {name} is not a component"))?;
        anyhow::Ok(graph.register_package(package)?)
    };
    let socket = register("socket", socket)?;
    let plugs = (1..)
        .zip(plugs)
        .map(|(number, plug)| register(&format!("plug-{number}"), plug))
        .collect::<Result<Vec<_>>>()?;
    wac_graph::plug(&mut graph, plugs, socket)?;
    graph
        .encode(EncodeOptions::default())
        .context("the composition does not validate")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Imports `t:t/a` and `t:t/b`, exports `t:t/out`.
    const SOCKET: &str = r#"(component
        (import "t:t/a" (instance $a (export "f" (func))))
        (import "t:t/b" (instance (export "f" (func))))
        (instance $out (export "f" (func $a "f")))
        (export "t:t/out" (instance $out)))"#;

    /// Exports one interface; imports `t:t/below`.
    fn exporting(interface: &str) -> Vec<u8> {
        component(&format!(
            r#"(component
                (import "t:t/below" (instance (export "f" (func))))
                (core module $m (func (export "f")))
                (core instance $c (instantiate $m))
                (func $f (canon lift (core func $c "f")))
                (instance $i (export "f" (func $f)))
                (export "{interface}" (instance $i)))"#
        ))
    }

    fn component(text: &str) -> Vec<u8> {
        wat::parse_str(text).expect("the text is a component")
    }

    /// The names of a component's imports and exports.
    fn surface(component: &[u8]) -> (Vec<String>, Vec<String>) {
        let mut graph = CompositionGraph::new();
        let package = Package::from_bytes("result", None, component, graph.types_mut())
            .expect("a composition is a component");
        let world = &graph.types()[package.ty()];
        (
            world.imports.keys().cloned().collect(),
            world.exports.keys().cloned().collect(),
        )
    }

    #[track_caller]
    fn check(plugs: &[&str], imports: &[&str]) {
        let plugs: Vec<_> = plugs.iter().map(|interface| exporting(interface)).collect();
        let plugs: Vec<_> = plugs.iter().map(Vec::as_slice).collect();
        let composed = plug(&component(SOCKET), &plugs).expect("the plugs fit");
        let (mut found, exports) = surface(&composed);
        found.sort();
        assert_eq!(found, imports);
        assert_eq!(exports, ["t:t/out"]);
    }

    #[test]
    fn what_no_plug_satisfies_stays_an_import() {
        check(&["t:t/a"], &["t:t/b", "t:t/below"]);
        check(&["t:t/a", "t:t/b"], &["t:t/below"]);
        check(&["t:t/other", "t:t/b"], &["t:t/a", "t:t/below"]);
    }

    #[test]
    fn a_plug_that_imports_what_it_exports_leaves_room_for_another() {
        // What it imports is not filled by itself, but by what is plugged in next.
        let wrapper = component(
            r#"(component
                (import "t:t/a" (instance $a (export "f" (func))))
                (core module $m (import "t:t/a" "f" (func $f)) (func (export "g") (call $f)))
                (core func $f (canon lower (func $a "f")))
                (core instance $c (instantiate $m
                    (with "t:t/a" (instance (export "f" (func $f))))))
                (func $g (canon lift (core func $c "g")))
                (instance $i (export "f" (func $g)))
                (export "t:t/a" (instance $i)))"#,
        );
        let mut composed = component(SOCKET);
        for (plugged, imports) in [
            (&wrapper, ["t:t/a", "t:t/b"]),
            (&wrapper, ["t:t/a", "t:t/b"]),
            (&exporting("t:t/a"), ["t:t/b", "t:t/below"]),
        ] {
            composed = plug(&composed, &[plugged]).expect("it fits");
            let (mut found, exports) = surface(&composed);
            found.sort();
            assert_eq!(found, imports);
            assert_eq!(exports, ["t:t/out"]);
        }
    }

    #[test]
    fn plugging_nothing_fails() {
        let error = plug(&component(SOCKET), &[&exporting("t:t/other")]).expect_err("nothing fits");
        assert!(error.to_string().contains("no matching imports"), "{error}");
    }

    #[test]
    fn two_plugs_for_one_import_fail() {
        plug(
            &component(SOCKET),
            &[&exporting("t:t/a"), &exporting("t:t/a")],
        )
        .expect_err("a fits twice");
    }

    #[test]
    fn an_input_that_is_no_component_is_named() {
        let error = plug(&component(SOCKET), &[b"text"]).expect_err("text is no component");
        assert_eq!(error.to_string(), "the plug-1 is not a component");
        let error = plug(b"", &[]).expect_err("nothing is no component");
        assert_eq!(error.to_string(), "the socket is not a component");
    }
}
