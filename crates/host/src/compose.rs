//! From the components of an application to what runs: each with its dependencies plugged in.
//!
//! A dependency may use what its dependent may, whatever `inherit_configuration` says: of a call out of a
//! composed component it is not seen which part made it. Spin, which serves the same manifest, refuses what
//! a dependency was not let inherit.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

use crate::manifest::{App, Component};

/// Who wakes those who wait for messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Wakeup {
    /// The host, at once. Dependencies are taken open, as the manifest's table `tool.witter` has them.
    #[default]
    Native,
    /// The timer that is composed into the dependencies, as under Spin.
    Timer,
}

/// Reads and composes; what was made of a file serves all who name it.
pub(crate) struct Composer<'a> {
    app: &'a App,
    wakeup: Wakeup,
    read: HashMap<PathBuf, Arc<Vec<u8>>>,
}

impl<'a> Composer<'a> {
    pub(crate) fn new(app: &'a App, wakeup: Wakeup) -> Self {
        Self {
            app,
            wakeup,
            read: HashMap::new(),
        }
    }

    /// The component's binary with its dependencies in it.
    pub(crate) fn compose(&mut self, component: &Component) -> anyhow::Result<Arc<Vec<u8>>> {
        let mut plugs = Vec::new();
        for dependency in &component.dependencies {
            let plug = self.resolve(&dependency.path)?;
            if !plugs.iter().any(|other| Arc::ptr_eq(other, &plug)) {
                plugs.push(plug);
            }
        }
        let source = self.resolve(&component.source)?;
        if plugs.is_empty() {
            return Ok(source);
        }
        let plugs: Vec<&[u8]> = plugs.iter().map(|plug| plug.as_slice()).collect();
        let composed = compose::plug(&source, &plugs)
            .with_context(|| format!("{} cannot be composed", component.source.display()))?;
        Ok(Arc::new(composed))
    }

    /// What stands for the file at `path`.
    fn resolve(&mut self, path: &Path) -> anyhow::Result<Arc<Vec<u8>>> {
        if let Some(binary) = self.read.get(path) {
            return Ok(binary.clone());
        }
        let binary = match (self.wakeup, self.app.open(path)) {
            (Wakeup::Native, Some(open)) => {
                let mut component = read(&open.component)?;
                for plug in &open.plugs {
                    component = compose::plug(&component, &[&read(plug)?])
                        .with_context(|| format!("{} cannot be plugged in", plug.display()))?;
                }
                component
            }
            _ => read(path)?,
        };
        let binary = Arc::new(binary);
        self.read.insert(path.to_owned(), binary.clone());
        Ok(binary)
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}
