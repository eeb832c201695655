# What can be done here; `make help` lists it. Every target installs what it needs on Debian or Ubuntu.
SHELL := /bin/bash
.DEFAULT_GOAL := help
SIZE ?= 200M
ROUNDS ?= 200
FUZZ_SECONDS ?= 600
PREFIX ?= /usr
ARCH ?= $(shell dpkg --print-architecture)
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: deps
deps:
	@tests/install-packages.sh build-essential pkg-config libssl-dev openssl curl

.PHONY: build
build: deps ## Build the release binaries
	cargo build --release --locked -p aard -p aar

.PHONY: demo
demo: build ## Run the registry's main job on this machine and show it (SIZE=2G for a bigger image)
	@tests/demo.sh target/release $(SIZE)

.PHONY: charm-deps
charm-deps: deps
	@tests/install-packages.sh git perl zip

.PHONY: charm
charm: charm-deps ## Build the charm, to run on Ubuntu 20.04 and later (ARCH=amd64 or arm64)
	packaging/build-charm.sh $(ARCH) $(TARGET) aar_ubuntu-20.04-$(ARCH).charm

.PHONY: charm-check
charm-check: charm-deps ## Build the charm twice, in two places, and compare the bytes
	packaging/check-charm.sh $(ARCH) $(TARGET)/charm-check

.PHONY: test
test: deps ## Run every check and test, as CI does
	@tests/install-packages.sh systemd iproute2 strace zip prometheus
	@tests/install-s3-servers.sh $(TARGET)/s3-servers
	@tests/install-signers.sh $(TARGET)/signers
	@tests/install-tus.sh $(TARGET)/tus
	@tests/install-python.sh $(TARGET)/ops tests/ops/requirements.txt
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo check --locked --manifest-path fuzz/Cargo.toml --target-dir $(TARGET)
	tests/check-dependencies.sh
	tests/check-guide.sh
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet
	cargo build --locked --workspace --bins
	cargo test --locked --workspace --no-fail-fast

.PHONY: test-ceph
test-ceph: deps ## Run the tests on S3 on Ceph, the strictest of the servers
	@tests/install-s3-servers.sh --ceph
	cargo build --locked --workspace --bins
	cargo test --locked -p aar-s3 -p aar-tests -- --ignored ceph

.PHONY: test-large
test-large: deps ## Push 12 GiB to S3 at a time and check how much memory that takes (needs 15 GB of disk)
	@tests/install-s3-servers.sh $(TARGET)/s3-servers
	cargo build --locked --workspace --bins
	cargo test --locked -p aar-tests --test s3 -- --ignored --nocapture --test-threads 1 memory::

.PHONY: test-idle
test-idle: deps ## Let 500 listeners and 500 pollers wait, and check what that costs
	cargo build --release --locked -p aard -p aar
	cargo test --release --locked -p aar-tests --test sync -- --ignored --nocapture idle::

.PHONY: crash
crash: deps ## Kill the daemon at random moments and check that nothing is lost (ROUNDS=200)
	cargo build --release --locked -p aard -p aar -p aar-tests
	@tests/install-s3-servers.sh $(TARGET)/s3-servers
	target/release/aar-crash --rounds $(ROUNDS)
	target/release/aar-crash --rounds $(ROUNDS) --s3

.PHONY: bench
bench: deps ## Measure the registry against nginx, docker-registry and a charm of ops, all in one run
	@tests/install-packages.sh nginx-light docker-registry systemd iproute2 zip time
	@tests/install-s3-servers.sh $(TARGET)/s3-servers
	@tests/install-python.sh $(TARGET)/ops tests/ops/requirements.txt
	cargo build --release --locked -p aard -p aar -p aar-charm -p aar-tests -p aar-bench
	$(TARGET)/release/aar-bench --json $(TARGET)/bench.json

.PHONY: fuzz
fuzz: deps ## Fuzz the readers of foreign input (FUZZ_SECONDS=600 for each)
	fuzz/run.sh $(FUZZ_SECONDS)

.PHONY: install
install: ## Install what `make build` made: binaries, unit, man pages, completions (PREFIX, DESTDIR)
	packaging/install.sh target/release "$(DESTDIR)" "$(PREFIX)"
