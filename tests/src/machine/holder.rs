//! What a script of `tests/machine/` has set up, for as long as it is held: it goes with this process, however that ends.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Lets go of what was set up when it is dropped, and waits until it is gone.
pub(super) struct Holder {
    child: Child,
    /// The line that said that it is there.
    pub(super) answer: String,
}

impl Holder {
    pub(super) fn start<'a>(script: &str, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("machine").join(script);
        let mut child = Command::new(&path)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Whoever interrupts the test does not interrupt what cleans up behind it.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", path.display()));
        let mut answer = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut answer).unwrap();
        if answer.is_empty() {
            let status = child.wait().unwrap();
            panic!(
                "{script} has failed ({status}; why is above): these tests make overlay mounts, network interfaces and \
                 control groups, which needs root with all capabilities, as in a virtual machine or a privileged container"
            );
        }
        Self { child, answer: answer.trim().into() }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Where the programs of the workspace are, which machines share.
pub(super) fn programs() -> PathBuf {
    crate::binary("pro-stand-in").parent().unwrap().to_owned()
}
