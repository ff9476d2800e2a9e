//! A child and all that it starts in turn: they end together, and with this program, however that ends.

use std::time::Duration;

/// How long whoever is asked to end may take. Shorter: tests that hang are not named, and Chromium, which leaves the
/// group that it is started in, is not ended by those who started it; longer: it is waited for what does not listen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(unix)]
mod platform {
    use std::io::Write as _;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command, Stdio};

    use anyhow::{Context as _, Result};

    use super::PATIENCE;

    /// A group of processes of its own, which no Ctrl-C at the terminal reaches.
    ///
    /// Its leader is a shell that passes on to all of them what it is told by its standard input. That ends with this
    /// program, even where nobody could catch the signal; then the leader ends the group by itself. While there is a
    /// leader, the system gives the group's number to nobody else.
    pub(crate) struct ProcessGroup {
        pub(super) leader: Child,
    }

    impl ProcessGroup {
        pub(crate) fn start() -> Result<Self> {
            let lead = format!(
                "trap '' TERM; while read -r signal; do kill -s \"$signal\" 0; done; \
                 kill -s TERM 0; sleep {}; kill -s KILL 0",
                PATIENCE.as_secs(),
            );
            let leader = Command::new("sh")
                .args(["-c", &lead])
                .process_group(0)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .context("sh cannot be run")?;
            Ok(Self { leader })
        }

        /// Has a command start in it.
        pub(crate) fn take_in(&self, command: &mut Command) -> Result<()> {
            command.process_group(self.leader.id().try_into()?);
            Ok(())
        }

        /// Asks all to end. Tells whether they could be asked.
        pub(crate) fn ask(&mut self) -> bool {
            self.pass_on("TERM")
        }

        /// Ends all at once.
        pub(crate) fn end(&mut self) {
            if !self.pass_on("KILL") {
                let _ = self.leader.kill();
            }
            let _ = self.leader.wait();
        }

        fn pass_on(&mut self, signal: &str) -> bool {
            let input = self.leader.stdin.as_mut();
            input.is_some_and(|input| writeln!(input, "{signal}").is_ok())
        }
    }

    impl Drop for ProcessGroup {
        fn drop(&mut self) {
            self.end();
        }
    }
}

#[cfg(not(unix))]
mod platform {
    use std::process::Command;

    use anyhow::Result;

    /// There are none: a child ends alone.
    pub(crate) struct ProcessGroup;

    impl ProcessGroup {
        pub(crate) fn start() -> Result<Self> {
            Ok(Self)
        }

        pub(crate) fn take_in(&self, _: &mut Command) -> Result<()> {
            Ok(())
        }

        pub(crate) fn ask(&mut self) -> bool {
            false
        }

        pub(crate) fn end(&mut self) {}
    }
}

pub(crate) use platform::ProcessGroup;

#[cfg(all(test, unix))]
mod tests {
    use std::io::Read as _;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A shell in the group, once it says that it has begun. Its output ends with the last who could write to it.
    fn shell(group: &ProcessGroup, script: &str) -> Child {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        group.take_in(&mut shell).expect("it has a number");
        let mut shell = shell.spawn().expect("there is a shell");
        let mut begun = [0; 6];
        let output = shell.stdout.as_mut().expect("it is piped");
        output.read_exact(&mut begun).expect("it begins");
        assert_eq!(&begun, b"begun\n");
        shell
    }

    #[test]
    fn what_a_child_started_ends_with_the_group_even_if_it_does_not_listen() {
        let group = ProcessGroup::start().expect("there is a shell");
        let shell = shell(&group, "trap '' TERM; sleep 1000 & echo begun; wait");
        drop(group);
        let told = shell.wait_with_output().expect("it has ended");
        assert!(!told.status.success());
    }

    #[test]
    fn who_is_asked_to_end_may_say_something() {
        let mut group = ProcessGroup::start().expect("there is a shell");
        // A child of a shell loses what is sent before it has put off its parent's traps: it may not hold the output.
        let shell = shell(
            &group,
            "trap 'echo asked; exit 3' TERM; sleep 1000 >/dev/null & echo begun; wait",
        );
        assert!(group.ask());
        let told = shell.wait_with_output().expect("it has ended");
        assert_eq!(told.stdout, b"asked\n");
        assert_eq!(told.status.code(), Some(3));
    }

    #[test]
    fn a_group_ends_with_the_program_that_started_it() {
        let mut group = ProcessGroup::start().expect("there is a shell");
        let shell = shell(&group, "sleep 1000 & echo begun; wait");
        // As the system does where this program is killed.
        group.leader.stdin = None;
        let told = shell.wait_with_output().expect("it has ended");
        assert!(!told.status.success());
    }
}
