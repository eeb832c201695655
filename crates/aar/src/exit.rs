//! The exit codes, which scripts tell apart.

/// How the command ended. The number is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Success = 0,
    Failure = 1,
    Usage = 2,
    NotFound = 3,
    NotAllowed = 4,
    Conflict = 5,
    Unreachable = 6,
    Verification = 7,
    NoSpace = 8,
    Extra = 9,
    Storage = 10,
}

const MEANINGS: [(Exit, &str); 11] = [
    (Exit::Success, "success"),
    (Exit::Failure, "any other failure"),
    (Exit::Usage, "the command was not used as it should be"),
    (Exit::NotFound, "there is no such application, version, image or certificate"),
    (Exit::NotAllowed, "the certificate is not trusted, or its role does not allow it"),
    (Exit::Conflict, "it contradicts what is there, such as another image for the same version"),
    (Exit::Unreachable, "the registry cannot be reached, or the connection broke"),
    (Exit::Verification, "an image is damaged, or the server is not the pinned one"),
    (Exit::NoSpace, "no space is left, here or on the registry"),
    (Exit::Extra, "all is copied, but the other storage holds records that the registry does not"),
    (Exit::Storage, "the registry's storage does not work as it should"),
];

/// The exit codes as `--help` shows them.
pub(crate) fn help() -> String {
    let lines = MEANINGS.map(|(exit, meaning)| format!("  {:<2} {meaning}", exit as u8));
    format!("Exit codes:\n{}", lines.join("\n"))
}
