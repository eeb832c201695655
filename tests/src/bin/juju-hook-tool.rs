//! Every hook tool of the stand-in for Juju's unit agent: asks the agent for what the name says that it was called by.

use std::env;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

fn main() -> ExitCode {
    match call() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("ERROR {error}");
            ExitCode::FAILURE
        }
    }
}

fn call() -> Result<u8, String> {
    let mut arguments = env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    let program = arguments.next().unwrap_or_default();
    let tool = Path::new(&program).file_name().unwrap_or_default().to_string_lossy();
    let variable = |name: &str| env::var(name).map_err(|_| format!("{name} not set"));
    let mut request = json!({
        "context": variable("JUJU_CONTEXT_ID")?,
        "tool": tool,
        "arguments": arguments.collect::<Vec<_>>(),
        "directory": env::current_dir().map_err(|error| error.to_string())?,
    });
    let socket = variable("JUJU_AGENT_SOCKET_ADDRESS")?;
    let mut answer = ask(&socket, &request)?;
    if answer.get("stdin").is_some() {
        let mut input = Vec::new();
        io::stdin().read_to_end(&mut input).map_err(|error| error.to_string())?;
        request["stdin"] = String::from_utf8_lossy(&input).into();
        answer = ask(&socket, &request)?;
    }
    let text = |name: &str| answer[name].as_str().unwrap_or_default().as_bytes();
    let written =
        io::stdout().write_all(text("stdout")).and_then(|()| io::stderr().write_all(text("stderr")));
    written.map_err(|error| error.to_string())?;
    Ok(answer["code"].as_u64().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

fn ask(socket: &str, request: &Value) -> Result<Value, String> {
    let ask = || {
        let mut stream = UnixStream::connect(socket)?;
        stream.write_all(request.to_string().as_bytes())?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        serde_json::from_str(&answer).map_err(io::Error::from)
    };
    ask().map_err(|error| error.to_string())
}
