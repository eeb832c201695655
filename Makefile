# What can be done here; `make help` lists it. Every target installs what it needs on Debian or Ubuntu.
SHELL := /bin/bash
.DEFAULT_GOAL := help
SIZE ?= 200M
ROUNDS ?= 200
FUZZ_SECONDS ?= 600
PREFIX ?= /usr
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: deps
deps:
	@tests/install-packages.sh build-essential pkg-config libssl-dev openssl curl

.PHONY: build
build: deps ## Build the release binaries
	cargo build --release --locked -p aard -p aar

.PHONY: demo
demo: build ## Run the registry's main job on this machine and show it (SIZE=2G for a bigger image)
	@tests/demo.sh target/release $(SIZE)

.PHONY: test
test: deps ## Run every check and test, as CI does
	@tests/install-packages.sh systemd
	@tests/install-s3-servers.sh $(TARGET)/s3-servers
	@tests/install-signers.sh $(TARGET)/signers
	@tests/install-ops.sh $(TARGET)/ops
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo check --locked --manifest-path fuzz/Cargo.toml --target-dir $(TARGET)
	tests/check-dependencies.sh
	tests/check-guide.sh
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet
	cargo build --locked --workspace --bins
	cargo test --locked --workspace

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

.PHONY: crash
crash: deps ## Kill the daemon at random moments and check that nothing is lost (ROUNDS=200)
	cargo build --release --locked -p aard -p aar -p aar-tests
	@tests/install-s3-servers.sh $(TARGET)/s3-servers
	target/release/aar-crash --rounds $(ROUNDS)
	target/release/aar-crash --rounds $(ROUNDS) --s3

.PHONY: bench
bench: deps ## Measure the registry against nginx and docker-registry, all in one run
	@tests/install-packages.sh nginx-light docker-registry
	@tests/install-s3-servers.sh $(TARGET)/s3-servers
	cargo build --release --locked -p aard -p aar -p aar-bench
	$(TARGET)/release/aar-bench --json $(TARGET)/bench.json

.PHONY: fuzz
fuzz: deps ## Fuzz the readers of foreign input (FUZZ_SECONDS=600 for each)
	fuzz/run.sh $(FUZZ_SECONDS)

.PHONY: install
install: ## Install what `make build` made: binaries, unit, man pages, completions (PREFIX, DESTDIR)
	packaging/install.sh target/release "$(DESTDIR)" "$(PREFIX)"
