//! The hook tools, as the agent carries them out.

mod actions;
mod arguments;
mod config;
mod format;
mod network;
mod relations;
mod status;
mod storage;
mod stored;

use std::path::PathBuf;

use serde_json::Value;

use super::JujuVersion;
use super::context::{Answer, Context};
use super::state::State;
use arguments::{Arguments, Option_};
use format::Format;

/// A call as a tool sends it.
pub(super) struct Request {
    pub(super) context: String,
    pub(super) tool: String,
    pub(super) arguments: Vec<String>,
    pub(super) directory: PathBuf,
    pub(super) stdin: Option<String>,
}

impl Request {
    pub(super) fn new(request: &Value) -> Self {
        let text = |name: &str| request[name].as_str().unwrap_or_default().to_owned();
        let arguments = request["arguments"].as_array().into_iter().flatten();
        Self {
            context: text("context"),
            tool: text("tool"),
            arguments: arguments.filter_map(|it| it.as_str().map(str::to_owned)).collect(),
            directory: text("directory").into(),
            stdin: request["stdin"].as_str().map(str::to_owned),
        }
    }
}

/// Why a tool does not do what it is told.
enum Refusal {
    /// Bad options or arguments: exit status 2.
    Usage(String),
    /// Failed while running: exit status 1.
    Failed(String),
}

/// What a tool prints.
enum Output {
    Nothing,
    /// As `--format` says.
    Value(Value),
    /// As it is.
    Text(String),
}

type Result<T> = std::result::Result<T, Refusal>;

fn usage<T>(message: impl Into<String>) -> Result<T> {
    Err(Refusal::Usage(message.into()))
}

fn failed<T>(message: impl Into<String>) -> Result<T> {
    Err(Refusal::Failed(message.into()))
}

/// A call on its way: the state of everything, whose hook it is, and what was asked.
struct Call<'a> {
    state: &'a mut State,
    unit: &'a str,
    request: &'a Request,
}

impl Call<'_> {
    fn context(&self) -> &Context {
        self.state.unit(self.unit).context.as_ref().unwrap()
    }

    fn context_mut(&mut self) -> &mut Context {
        self.state.unit_mut(self.unit).context.as_mut().unwrap()
    }

    /// A file that an argument names, or standard input for `-`.
    fn file(&self, name: &str) -> Result<String> {
        if name == "-" {
            return Ok(self.request.stdin.clone().unwrap_or_default());
        }
        std::fs::read_to_string(self.request.directory.join(name))
            .or_else(|error| failed(format!("cannot read {name}: {error}")))
    }
}

type Body = fn(&mut Call, &Arguments) -> Result<Output>;

/// A tool: its options, and what it does.
struct Tool {
    name: &'static str,
    options: &'static [Option_],
    reader: bool,
    body: Body,
}

const fn tool(name: &'static str, options: &'static [Option_], body: Body) -> Tool {
    Tool { name, options, reader: false, body }
}

/// A tool that prints in several formats.
const fn reader(name: &'static str, options: &'static [Option_], body: Body) -> Tool {
    Tool { name, options, reader: true, body }
}

const RELATION: Option_ = Option_::text(&["r", "relation"]);
const APP: Option_ = Option_::flag(&["app"]);
const APPLICATION: Option_ = Option_::flag(&["application"]);
const FILE: Option_ = Option_::text(&["file"]);
const ENDPOINTS: Option_ = Option_::text(&["endpoints"]);
const STORAGE: Option_ = Option_::text(&["s"]);

const TOOLS: &[Tool] = &[
    reader("action-get", &[], actions::get),
    tool("action-set", &[], actions::set),
    tool("action-fail", &[], actions::fail),
    tool("action-log", &[], actions::log),
    tool("application-version-set", &[], status::set_version),
    tool("close-port", &[ENDPOINTS], network::close_port),
    reader("config-get", &[Option_::flag(&["a", "all"])], config::get),
    reader("goal-state", &[], status::goal_state),
    reader("is-leader", &[], status::is_leader),
    tool("juju-log", &[Option_::text(&["l", "log-level"]), Option_::flag(&["debug"])], status::log),
    tool("juju-reboot", &[Option_::flag(&["now"])], status::reboot),
    reader(
        "network-get",
        &[
            RELATION,
            Option_::flag(&["bind-address"]),
            Option_::flag(&["ingress-address"]),
            Option_::flag(&["egress-subnets"]),
        ],
        network::get,
    ),
    tool("open-port", &[ENDPOINTS], network::open_port),
    reader("opened-ports", &[Option_::flag(&["endpoints"])], network::opened_ports),
    reader("relation-get", &[RELATION, APP], relations::get),
    reader("relation-ids", &[], relations::ids),
    reader("relation-list", &[RELATION, APP], relations::list),
    reader("relation-model-get", &[RELATION], relations::model),
    tool("relation-set", &[RELATION, APP, FILE], relations::set),
    tool("resource-get", &[], storage::resource),
    reader(
        "secret-get",
        &[Option_::text(&["label"]), Option_::flag(&["peek"]), Option_::flag(&["refresh"])],
        stored::secret,
    ),
    tool("state-delete", &[], stored::delete),
    reader("state-get", &[Option_::flag(&["strict"])], stored::get),
    tool("state-set", &[FILE], stored::set),
    reader("status-get", &[Option_::flag(&["include-data"]), APPLICATION], status::get),
    tool("status-set", &[APPLICATION], status::set),
    tool("storage-add", &[], storage::add),
    reader("storage-get", &[STORAGE], storage::get),
    reader("storage-list", &[], storage::list),
    reader("unit-get", &[], network::unit),
];

/// Tools that 4.0 has no more.
const OLD_TOOLS: &[Tool] =
    &[reader("leader-get", &[], relations::leader_get), tool("leader-set", &[FILE], relations::leader_set)];

fn all(version: JujuVersion) -> impl Iterator<Item = &'static Tool> {
    TOOLS.iter().chain(if version == JujuVersion::V3_6 { OLD_TOOLS } else { &[] })
}

/// The names of the tools that there are.
pub(super) fn names(version: JujuVersion) -> impl Iterator<Item = &'static str> {
    all(version).map(|tool| tool.name)
}

/// Whether a call is about what comes on standard input.
pub(super) fn wants_stdin(tool: &str, arguments: &[String]) -> bool {
    let takes_file = TOOLS.iter().chain(OLD_TOOLS).any(|it| it.name == tool && it.options.contains(&FILE));
    takes_file
        && (arguments.iter().any(|it| it == "--file=-")
            || arguments.windows(2).any(|pair| pair[0] == "--file" && pair[1] == "-"))
}

/// Does what a tool is to do.
pub(super) fn carry_out(state: &mut State, unit: &str, request: &Request) -> Answer {
    let tool = all(state.version).find(|tool| tool.name == request.tool);
    let answer = match tool {
        Some(tool) => run(tool, &mut Call { state, unit, request }),
        None => failed(format!("bad request: unknown command {:?}", request.tool)),
    };
    let (code, stdout, stderr) = match answer {
        Ok(stdout) => (0, stdout, String::new()),
        Err(Refusal::Usage(message)) => (2, String::new(), format!("ERROR {message}\n")),
        Err(Refusal::Failed(message)) => (1, String::new(), format!("ERROR {message}\n")),
    };
    Answer { code, stdout, stderr }
}

fn run(tool: &Tool, call: &mut Call) -> Result<String> {
    const READER: &[Option_] = &[Option_::text(&["format"]), Option_::text(&["o", "output"])];
    let options: Vec<_> = tool.options.iter().chain(if tool.reader { READER } else { &[] }).collect();
    let arguments = Arguments::parse(&call.request.arguments, &options)?;
    let format = match arguments.option("format") {
        None if ["goal-state", "secret-get"].contains(&tool.name) => Format::Yaml,
        None => Format::Smart,
        Some((name, value)) => Format::parse(value)
            .or_else(|| {
                let smart = value == "smart" && !["goal-state", "secret-get"].contains(&tool.name);
                smart.then_some(Format::Smart)
            })
            .map_or_else(
                || usage(format!("invalid value {value:?} for option {name}: unknown format {value:?}")),
                Ok,
            )?,
    };
    let text = match (tool.body)(call, &arguments)? {
        Output::Nothing => String::new(),
        Output::Text(text) => text,
        Output::Value(value) => format::render(&value, format),
    };
    match arguments.option("output") {
        Some((_, file)) => {
            std::fs::write(call.request.directory.join(file), text)
                .or_else(|error| failed(format!("cannot write {file}: {error}")))?;
            Ok(String::new())
        }
        None => Ok(text),
    }
}
