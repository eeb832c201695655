//! The scenarios by name.

use std::fmt;

use anyhow::Result;
use clap::ValueEnum;

use super::{handshake, hook, pull, push, redirect, rush, small, start};
use crate::{bench::Bench, report::Report};

/// A group of measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Pulls of images by 1, 8 and 32 clients.
    Pull,
    /// Pushes of images by 1 and 4 publishers.
    Push,
    /// Small requests over 16 connections.
    Small,
    /// TLS handshakes with a client certificate.
    Handshake,
    /// Time to be ready, idle memory, rebuild of the index.
    Start,
    /// Redirects to CloudFront and to a bucket over 16 connections.
    Redirect,
    /// First redirects to CloudFront of many images.
    Rush,
    /// Pushes of images by 1 and 8 publishers to a bucket.
    PushS3,
    /// A hook of the charm that has nothing to do.
    Hook,
}

impl Scenario {
    /// Those of `only`, or all where it is empty.
    pub(crate) fn chosen(only: &[Self]) -> Vec<Self> {
        Self::value_variants().iter().copied().filter(|one| only.is_empty() || only.contains(one)).collect()
    }

    /// Measures it.
    pub(crate) async fn run(self, bench: &Bench, report: &mut Report) -> Result<()> {
        match self {
            Self::Pull => pull::measure(bench, report).await,
            Self::Push => push::measure(bench, report).await,
            Self::Small => small::measure(bench, report).await,
            Self::Handshake => handshake::measure(bench, report).await,
            Self::Start => start::measure(bench, report).await,
            Self::Redirect => redirect::measure(bench, report).await,
            Self::Rush => rush::measure(bench, report).await,
            Self::PushS3 => push::measure_to_bucket(bench, report).await,
            Self::Hook => tokio::task::block_in_place(|| hook::measure(bench, report)),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Small => "small",
            Self::Handshake => "handshake",
            Self::Start => "start",
            Self::Redirect => "redirect",
            Self::Rush => "rush",
            Self::PushS3 => "push-s3",
            Self::Hook => "hook",
        })
    }
}
