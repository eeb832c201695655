//! The agent's socket: where hook tools ask.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

use super::context::{Answer, ToolCall, Verdict};
use super::state::{State, tools_directory};
use super::tools::{self, Request};
use super::unit::kill;

/// What a test says about each call.
pub(super) type Rule = Arc<dyn Fn(&ToolCall) -> Verdict + Send + Sync>;

/// Answers the hook tools of one unit until it is dropped.
pub(super) struct Server {
    listener: Arc<UnixListener>,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    pub(super) fn start(
        state: &Arc<Mutex<State>>,
        rule: &Arc<Mutex<Rule>>,
        unit: &str,
        socket: PathBuf,
    ) -> Self {
        let listener = Arc::new(UnixListener::bind(socket).unwrap());
        let accepting = {
            let (listener, state, rule, unit) =
                (Arc::clone(&listener), Arc::clone(state), Arc::clone(rule), unit.to_owned());
            thread::spawn(move || {
                while let Ok((stream, _)) = listener.accept() {
                    let (state, rule, unit) = (Arc::clone(&state), Arc::clone(&rule), unit.clone());
                    // Hooks may call tools side by side.
                    thread::spawn(move || serve(&state, &rule, &unit, &stream));
                }
            })
        };
        Self { listener, accepting: Some(accepting) }
    }
}

impl Drop for Server {
    /// The socket's file may be gone with its machine. A listener that stayed would keep all of the machine's files.
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Read);
        let _ = self.accepting.take().map(JoinHandle::join);
    }
}

/// Puts the tools where hooks find them.
pub(super) fn link_tools(root: &Path, unit: &str, program: &Path, state: &State) {
    let directory = tools_directory(root, unit);
    fs::create_dir_all(&directory).unwrap();
    for tool in tools::names(state.version) {
        std::os::unix::fs::symlink(program, directory.join(tool)).unwrap();
    }
}

fn serve(state: &Mutex<State>, rule: &Mutex<Rule>, unit: &str, mut stream: &UnixStream) {
    let mut text = Vec::new();
    let Ok(request) = stream.read_to_end(&mut text).map(|_| serde_json::from_slice::<Value>(&text)) else {
        return;
    };
    let Some(answer) = answer(state, rule, unit, &Request::new(&request.unwrap())) else { return };
    // A hook that was killed does not listen any more.
    let _ = stream.write_all(answer.to_string().as_bytes());
    let _ = stream.shutdown(Shutdown::Write);
}

/// The answer to a request; none where the hook is killed over it.
fn answer(state: &Mutex<State>, rule: &Mutex<Rule>, unit: &str, request: &Request) -> Option<Value> {
    let (mut call, group) = {
        let mut state = state.lock().unwrap();
        let context = state.unit_mut(unit).context.as_mut().filter(|context| context.id == request.context);
        let Some(context) = context else {
            let message = format!("ERROR bad request: wrong context ID; got {:?}\n", request.context);
            return Some(json!({"code": 1, "stdout": "", "stderr": message}));
        };
        if request.stdin.is_none() && tools::wants_stdin(&request.tool, &request.arguments) {
            return Some(json!({"stdin": true}));
        }
        let call = ToolCall {
            unit: unit.to_owned(),
            hook: context.name.clone(),
            number: context.calls.len() + 1,
            tool: request.tool.clone(),
            arguments: request.arguments.clone(),
            answer: None,
        };
        context.calls.push(call.clone());
        (call, context.group)
    };
    let rule = Arc::clone(&rule.lock().unwrap());
    // Asked without the lock, so that a test may look at the model.
    let verdict = rule(&call);
    let answer = match verdict {
        Verdict::KillBefore => {
            kill(group);
            return None;
        }
        Verdict::Fail => {
            Answer { code: 1, stdout: String::new(), stderr: "ERROR connection is shut down\n".into() }
        }
        Verdict::Proceed | Verdict::KillAfter => {
            let mut state = state.lock().unwrap();
            // The hook may have ended meanwhile.
            state.unit_mut(unit).context.as_ref().filter(|context| context.id == request.context)?;
            tools::carry_out(&mut state, unit, request)
        }
    };
    call.answer = Some(answer.clone());
    if let Some(context) = &mut state.lock().unwrap().unit_mut(unit).context
        && context.id == request.context
    {
        let index = call.number - 1;
        context.calls[index] = call;
    }
    let reboot =
        request.tool == "juju-reboot" && answer.code == 0 && request.arguments.iter().any(|it| it == "--now");
    if verdict == Verdict::KillAfter || reboot {
        kill(group);
        return None;
    }
    Some(json!({"code": answer.code, "stdout": answer.stdout, "stderr": answer.stderr}))
}
