//! Children whose output matters only where they fail.

use std::env::consts::EXE_SUFFIX;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::process_group::{self, ProcessGroup};
use crate::terminal::Task;

/// How long after a child's end its output may still arrive. A grandchild that outlives it holds the pipe
/// open for ever, so the end of the pipe cannot be waited for.
const STRAGGLERS: Duration = Duration::from_secs(1);

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

/// Runs what may take long, at most `limit`. What it said is in the error where it fails.
pub(crate) fn run(command: &mut Command, what: &str, limit: Duration) -> Result<()> {
    let mut running = Running::start(command)?;
    let mut task = Task::new("Running", what);
    let mut said = Vec::new();
    while let Some(event) = running.next() {
        match event {
            Event::Line(line) => said.push(line.text),
            Event::Nothing => task.now(what),
        }
        if task.elapsed() > limit {
            bail!("{what} was not done after {} s", limit.as_secs());
        }
    }
    let status = running.status()?;
    if !status.success() {
        bail!("{what} failed: {}", said.join("\n").trim());
    }
    Ok(())
}

/// Whether a program can be found, as commands find it.
pub(crate) fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = [program, &format!("{program}{EXE_SUFFIX}")];
    std::env::split_paths(&path).any(|folder| names.iter().any(|name| folder.join(name).is_file()))
}

/// The names in a folder; none where there is no such folder.
pub(crate) fn names(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

/// What a child said, without its end of line.
pub(crate) struct Line {
    pub(crate) text: String,
    /// It came on standard error.
    pub(crate) is_error: bool,
}

/// What comes next of a running child.
pub(crate) enum Event {
    Line(Line),
    /// A moment went by in silence.
    Nothing,
}

/// A child that is read line by line.
pub(crate) struct Running {
    child: Child,
    /// The child and what it started.
    group: ProcessGroup,
    lines: Receiver<Line>,
    ended: Option<Instant>,
    /// When it said something last.
    said: Instant,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let group = ProcessGroup::start()?;
        group.take_in(command)?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} cannot be run", name(command)))?;
        let (to, lines) = channel();
        read_lines(child.stdout.take(), to.clone(), false);
        read_lines(child.stderr.take(), to, true);
        Ok(Self {
            child,
            group,
            lines,
            ended: None,
            said: Instant::now(),
        })
    }

    /// The next event; none after the last line of a child that has ended.
    pub(crate) fn next(&mut self) -> Option<Event> {
        match self.lines.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => {
                self.said = Instant::now();
                Some(Event::Line(line))
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                if self.ended.is_none() && !self.goes_on() {
                    self.ended = Some(Instant::now());
                }
                let over = self.ended.is_some_and(|ended| ended.elapsed() > STRAGGLERS);
                (!over).then_some(Event::Nothing)
            }
        }
    }

    /// Waits for the end.
    pub(crate) fn status(mut self) -> Result<ExitStatus> {
        self.child.wait().context("the child got lost")
    }

    /// Ends it where it has said nothing for so long; what it said before, or says when it is asked, is still to be read.
    pub(crate) fn end_silence(&mut self, most: Duration) -> bool {
        let is_hung = self.ended.is_none() && self.said.elapsed() > most;
        if is_hung {
            self.end();
            self.ended = Some(Instant::now());
        }
        is_hung
    }

    /// Ends it with all that it started: it is asked first, and then no longer.
    fn end(&mut self) {
        let asked = Instant::now();
        if self.goes_on() && self.group.ask() {
            while self.goes_on() && asked.elapsed() < process_group::PATIENCE {
                thread::sleep(Duration::from_millis(10));
            }
        }
        self.group.end();
        // It fails only where the child has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn goes_on(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What it has said since it was last asked, without waiting for more.
    pub(crate) fn said(&mut self) -> Vec<String> {
        self.lines.try_iter().map(|line| line.text).collect()
    }
}

/// Neither it nor what it started outlives who reads it.
impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Hands on what arrives, a line at a time. A bar is redrawn after a carriage return, which ends a line too.
fn read_lines(stream: Option<impl Read + Send + 'static>, to: Sender<Line>, is_error: bool) {
    let mut stream = stream.expect("it is piped");
    thread::spawn(move || {
        let mut buffer = [0; 8192];
        let mut line = Vec::new();
        loop {
            let length = stream.read(&mut buffer).unwrap_or(0);
            // The last line may lack its end.
            let bytes = if length == 0 && !line.is_empty() {
                b"\n"
            } else {
                &buffer[..length]
            };
            for byte in bytes {
                if !matches!(byte, b'\n' | b'\r') {
                    line.push(*byte);
                    continue;
                }
                let text = String::from_utf8_lossy(&line).into_owned();
                if to.send(Line { text, is_error }).is_err() {
                    return;
                }
                line.clear();
            }
            if length == 0 {
                return;
            }
        }
    });
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_nothing_for_too_long_is_ended_and_has_still_said_what_it_said() {
        let mut shell = Command::new("sh");
        let mut running = Running::start(shell.args(["-c", "echo begun; exec sleep 1000"]))
            .expect("there is a shell");
        let mut said = Vec::new();
        let mut was_killed = false;
        while let Some(event) = running.next() {
            match event {
                Event::Line(line) => said.push(line.text),
                Event::Nothing if said.is_empty() => {
                    assert!(!running.end_silence(Duration::from_secs(600)));
                }
                Event::Nothing => was_killed |= running.end_silence(Duration::from_millis(1)),
            }
        }
        assert!(was_killed);
        assert_eq!(said, ["begun"]);
        assert!(!running.status().expect("it has ended").success());
    }
}
