# Weir. `make demo` shows it, `make test` tries everything; both begin by looking for what they need.

CARGO ?= cargo
RELEASE := $(abspath $(or $(CARGO_TARGET_DIR),target))/release
# Always the whole workspace and one profile: so every command means the same features and each dependency is built once.
WORKSPACE := --release --locked --workspace
PLUGINS := clean-events clean-events-next adversary adversary-next unpack-orders price-items total-orders merge-baskets shift-windows window-adversary spike-filter keyed-adversary average-price aggregate-adversary touch-credit attribute-adversary service-rates table-rates

.PHONY: help demo test build plugins check lint deny soak bench fmt clean tools

help:
	@echo "make demo    build Weir, run the shop pipeline, swap its plugin halfway, reconcile"
	@echo "make test    everything: style, licences, tests with a real Kafka and PostgreSQL, plugins"
	@echo "make build   target/release/weir"
	@echo "make soak    kill -9 and swaps under load, for half an hour; goes on where it was stopped"
	@echo "make bench   figures beside those of other programs, in one run"
	@echo "make deny    advisories and licences of dependencies, with cargo-deny"
	@echo "make fmt     format all Rust code"
	@echo "make clean   remove everything that was built"

demo: plugins
	$(RELEASE)/weir demo pipelines/ecommerce/pipeline.yaml

build: tools
	$(CARGO) build $(WORKSPACE) --bin weir

plugins: build
	@for plugin in $(PLUGINS); do $(RELEASE)/weir plugin build plugins/$$plugin || exit; done

test: check plugins
	$(CARGO) test $(WORKSPACE) --no-run
	$(RELEASE)/weir-services run -- $(CARGO) test $(WORKSPACE)
	$(CARGO) test --locked --manifest-path plugins/Cargo.toml
	@for pipeline in pipelines/*/pipeline.yaml; do $(RELEASE)/weir test $$pipeline || exit; done
	$(RELEASE)/weir demo pipelines/ecommerce/pipeline.yaml

# What needs no build of the dependencies comes first.
check: tools
	$(CARGO) fmt --all --check
	$(CARGO) fmt --all --check --manifest-path plugins/Cargo.toml
	$(CARGO) test --release --locked -p weir-tidy
	$(MAKE) lint

lint:
	$(CARGO) clippy $(WORKSPACE) --all-targets -- -D warnings
	$(CARGO) clippy --locked --manifest-path plugins/Cargo.toml --all-targets -- -D warnings

deny:
	@command -v cargo-deny > /dev/null || { echo "cargo-deny is missing: cargo install cargo-deny --locked"; exit 1; }
	cargo deny check
	cargo deny --manifest-path plugins/Cargo.toml check --config deny.toml

soak: plugins
	$(CARGO) build $(WORKSPACE) --bin weir --bin weir-soak
	WEIR_GOLDEN=all WEIR_SEEDS=100000 $(CARGO) test $(WORKSPACE) --test cases --test simulation
	$(RELEASE)/weir-soak

# A workspace of its own. From Kafka on they need a real broker.
bench: plugins
	$(CARGO) build $(WORKSPACE) --bin weir-services
	$(CARGO) build $(WORKSPACE) --features weir-simulation/seeded-bugs --bin weir-bugs
	cd tests/bench && for bench in json crossing operators epoch-log; do \
		$(CARGO) run --release -p weir-bench-$$bench || exit; done; \
		$(CARGO) run --release -p weir-bench-operators -- memory
	cd tests/bench && for what in '' throughput; do \
		WEIR_BIN=$(RELEASE)/weir $(CARGO) run --release -p weir-bench-restart -- $$what || exit; done
	cd tests/bench && $(CARGO) build --release -p weir-bench-kafka -p weir-bench-spine -p weir-bench-nexmark
	@for plugin in count-char channel-id split-url; do \
		$(RELEASE)/weir plugin build tests/bench/nexmark/plugins/$$plugin || exit; done
	cd tests/bench && WEIR_BIN=$(RELEASE)/weir $(RELEASE)/weir-services run -- sh -c '\
		$(CARGO) run --release -p weir-bench-kafka && export KAFKA_BROKERS=$$WEIR_TEST_KAFKA && \
		$(CARGO) run --release -p weir-bench-restart -- kafka && \
		$(CARGO) run --release -p weir-bench-spine && $(CARGO) run --release -p weir-bench-spine -- swaps && \
		$(CARGO) run --release -p weir-bench-spine -- epochs && \
		$(CARGO) run --release -p weir-bench-spine -- latency && \
		$(CARGO) run --release -p weir-bench-nexmark -- check && $(CARGO) run --release -p weir-bench-nexmark'

fmt:
	$(CARGO) fmt --all
	$(CARGO) fmt --all --manifest-path plugins/Cargo.toml

clean:
	$(CARGO) clean
	$(CARGO) clean --manifest-path plugins/Cargo.toml
	rm -rf tests/bench/target pipelines/*/out

tools:
	@.ci/tools
