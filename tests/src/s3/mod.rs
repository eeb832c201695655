//! Harnesses of the tests on S3: real servers, a proxy that records and misbehaves, and a stand-in for the metadata
//! server of EC2. None of it uses the registry's own code for S3: what is tested is talked to from outside.

mod ceph;
mod client;
mod door;
mod fault;
mod http;
mod iam;
mod metadata;
mod process;
mod proxy;
mod servers;
mod tls;

pub use client::{Client, Upload};
pub use fault::{Fault, Refusal, When};
pub use iam::{Call, IamPolicy, Permission};
pub use metadata::{InstanceCredentials, MetadataRequest, MetadataServer, Tokens};
pub use proxy::{Proxy, ProxyRequest};
pub use servers::S3Server;
pub use tls::TlsFront;
