//! Children whose output matters only where they fail.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::terminal::Task;

/// Runs a command to its end and gives what it said, whatever the outcome.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{} cannot be run", name(command)))
}

/// What a command printed; an error where it fails.
pub(crate) fn printed(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    if !output.status.success() {
        bail!(
            "{} failed: {}",
            name(command),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs what may take long. What it said is in the error where it fails, or takes longer than `limit`.
pub(crate) fn run(command: &mut Command, what: &str, limit: Duration) -> Result<()> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{} cannot be run", name(command)))?;
    let said = [drain(child.stdout.take()), drain(child.stderr.take())];
    let mut task = Task::new("Running", what);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if task.elapsed() > limit {
            end(&mut child)?;
            break None;
        }
        task.now(what);
        thread::sleep(Duration::from_millis(50));
    };
    drop(task);
    match status {
        Some(status) if status.success() => Ok(()),
        Some(_) => {
            let said = said.map(|reader| reader.join().unwrap_or_default());
            bail!("{what} failed: {}", said.concat().trim())
        }
        // A grandchild may hold the pipes open: do not wait for their end.
        None => bail!("{what} was not done after {} s", limit.as_secs()),
    }
}

/// Whether a program can be found.
pub(crate) fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// The names in a folder; none where there is no such folder.
pub(crate) fn names(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

fn end(child: &mut Child) -> Result<()> {
    child.kill()?;
    child.wait()?;
    Ok(())
}

fn drain(stream: Option<impl std::io::Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What was read before an error is still worth showing.
            let _ = stream.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}
