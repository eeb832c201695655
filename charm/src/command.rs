//! Programs of the machine.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::marker::PhantomData;
use std::process::{Child, Command, Output, Stdio};

use serde::de::DeserializeOwned;

use crate::status::one_line;

/// A program did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be run.
    #[error("cannot run `{program}`")]
    Run {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It failed.
    #[error("`{program}` says: {said}")]
    Failed {
        /// The program with its first words.
        program: String,
        /// Its exit code; none where a signal ended it.
        code: Option<i32>,
        /// What it wrote on standard error or, where that is empty, on standard output.
        said: String,
    },
    /// It wrote something unexpected.
    #[error("cannot read what `{program}` answers")]
    Answer {
        /// The program.
        program: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// A program that was started and goes on by itself. One that nobody waits for must change nothing.
pub struct Started {
    program: String,
    child: Child,
}

/// A question to a program, which answers in JSON.
pub struct Question<T> {
    asked: Started,
    answer: PhantomData<fn() -> T>,
}

/// A program that ran. Not `Debug`: what it wrote may be secret.
pub struct Ran {
    program: String,
    output: Output,
}

/// Runs a program with `input` on its standard input.
///
/// # Errors
/// Where it cannot be run at all.
pub fn run<S: AsRef<OsStr>>(
    program: &str,
    arguments: &[S],
    variables: &[(&str, &str)],
    input: Option<&[u8]>,
) -> Result<Ran, CommandError> {
    spawn(program, arguments, variables, input)?.wait()
}

/// Starts a program that gets `input` on its standard input, so that others can be started beside it.
///
/// # Errors
/// Where it cannot be run at all.
pub fn spawn<S: AsRef<OsStr>>(
    program: &str,
    arguments: &[S],
    variables: &[(&str, &str)],
    input: Option<&[u8]>,
) -> Result<Started, CommandError> {
    let failed = |source| CommandError::Run { program: program.to_owned(), source };
    let mut child = Command::new(program)
        .args(arguments)
        .envs(variables.iter().copied())
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        // All programs read their input before they write: neither waits for the other.
        match stdin.write_all(input) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(failed(error)),
            _ => {}
        }
    }
    let first = arguments.iter().map(|word| word.as_ref().to_string_lossy());
    let words = first.take_while(|word| !word.starts_with(['-', '/'])).take(2);
    let name = program.rsplit('/').next().unwrap_or(program).to_owned();
    let program = std::iter::once(name).chain(words.map(Into::into)).collect::<Vec<String>>().join(" ");
    Ok(Started { program, child })
}

impl Started {
    /// Waits for its end.
    ///
    /// # Errors
    /// Where what it writes cannot be read.
    pub fn wait(self) -> Result<Ran, CommandError> {
        let Self { program, child } = self;
        match child.wait_with_output() {
            Ok(output) => Ok(Ran { program, output }),
            Err(source) => Err(CommandError::Run { program, source }),
        }
    }

    /// The question that it was started for.
    pub fn asks<T>(self) -> Question<T> {
        Question { asked: self, answer: PhantomData }
    }
}

impl<T: DeserializeOwned> Question<T> {
    /// Waits for the answer.
    ///
    /// # Errors
    /// What the program said, where it failed, or that its answer is no JSON of that shape.
    pub fn answer(self) -> Result<T, CommandError> {
        self.asked.wait()?.ok()?.json()
    }
}

impl Ran {
    /// Whether it succeeded.
    pub fn success(&self) -> bool {
        self.output.status.success()
    }

    /// Its exit code; none where a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    /// Its standard output.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// Its standard output, as it is.
    pub fn into_stdout(self) -> Vec<u8> {
        self.output.stdout
    }

    /// What it said when it failed.
    pub fn said(&self) -> String {
        let stderr = one_line(&String::from_utf8_lossy(&self.output.stderr));
        if stderr.is_empty() { one_line(&self.stdout()) } else { stderr }
    }

    /// Itself where it succeeded.
    ///
    /// # Errors
    /// What it said, where it failed.
    pub fn ok(self) -> Result<Self, CommandError> {
        if self.success() {
            return Ok(self);
        }
        let (code, said) = (self.code(), self.said());
        Err(CommandError::Failed { program: self.program, code, said })
    }

    /// Its standard output as JSON.
    ///
    /// # Errors
    /// Where it is none, or not of that shape.
    pub fn json<T: DeserializeOwned>(self) -> Result<T, CommandError> {
        serde_json::from_slice(&self.output.stdout)
            .map_err(|source| CommandError::Answer { program: self.program, source })
    }
}
