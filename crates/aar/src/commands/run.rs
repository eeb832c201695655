use super::{application, documents, maintenance, status, sync, trust};
use crate::cli::{Cli, Command};
use crate::connect::Registry;
use crate::error::Result;

/// Carries a command out.
pub(crate) async fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Trust(command) => trust::run(command, &cli.base_dir).await,
        Command::Application(application) => {
            let registry = Registry::choose(application.registry, &cli.base_dir).await?;
            application::run(application.command, &registry.client).await
        }
        Command::Sync(command) => sync::run(command, &cli.base_dir).await,
        Command::Maintenance(command) => {
            maintenance::run(command, &Registry::local(&cli.base_dir).client).await
        }
        Command::Status { registry, output } => {
            status::run(&Registry::choose(registry, &cli.base_dir).await?, output.format).await
        }
        Command::Completion { shell } => documents::completion(shell),
        Command::Man { dir } => documents::man(&dir),
    }
}
