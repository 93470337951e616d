# `make` lists the verbs.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/bash
PY := .venv/bin/python

# --- the object that runs in the kernel ------------------------------------------------------------
CLANG := $(or $(firstword $(foreach v,clang-19 clang-18 clang-17 clang-16 clang-15 clang,$(shell command -v $(v)))),clang-19)
STRIP := $(or $(firstword $(foreach v,$(patsubst clang%,llvm-strip%,$(notdir $(CLANG))) llvm-strip-19 llvm-strip-18 llvm-strip,$(shell command -v $(v)))),llvm-strip)
export CLANG
MACHINE := $(shell uname -m)
TARGET_ARCH := $(patsubst aarch64,arm64,$(patsubst x86_64,x86,$(MACHINE)))
OBJECT := src/axon/kernel/axon.bpf.o
BPF_FLAGS := -O2 -g -Wall -Wextra -Werror -target bpf -mcpu=v2 -D__TARGET_ARCH_$(TARGET_ARCH) \
	-idirafter /usr/include/$(MACHINE)-linux-gnu

.PHONY: help setup build demo test lint bench docs screenshot wheel lock clean

help: ## list these verbs
	@awk -F':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what is missing (apt and pip), put the command at .venv/bin/axon
	@scripts/setup test

build: $(OBJECT) ## compile the kernel programs into src/axon/kernel/axon.bpf.o

$(OBJECT): bpf/axon.bpf.c $(wildcard bpf/*.h) Makefile
	@mkdir -p build $(@D)
	$(CLANG) $(BPF_FLAGS) -c $< -o build/axon.bpf.$$PPID.o
	@$(STRIP) -g build/axon.bpf.$$PPID.o && mv build/axon.bpf.$$PPID.o $@

demo: BEGAN := $(shell date +%s.%N)
demo: ## set up, start a sample application and watch its requests live until q
	@scripts/setup demo
	@$(MAKE) --no-print-directory build
	@scripts/as-root $(PY) -m demo --began $(BEGAN) $(DEMO)

test: ## set up, build and run the whole test suite
	@scripts/setup test
	@$(MAKE) --no-print-directory build
	@scripts/as-root $(PY) -m pytest $(TESTS)

lint: ## check style, types, layers and that generated pages are current
	@scripts/setup test
	@scripts/lint

bench: ## print every figure the README states, measured on this machine
	@scripts/setup bench
	@$(MAKE) --no-print-directory build
	@scripts/as-root $(PY) -m bench $(BENCH)

docs: ## write the generated pages of docs/ anew
	@scripts/setup test
	@$(PY) -m scripts.docs

screenshot: ## take the README's picture of the live table over the sample shop
	@scripts/setup demo
	@$(MAKE) --no-print-directory build
	@scripts/as-root $(PY) -m scripts.screenshot

wheel: ## build dist/axon-*.whl, which carries the compiled object, and the sdist
	@scripts/setup test
	@$(MAKE) --no-print-directory build
	@$(PY) -m build --no-isolation --outdir dist .

lock: ## resolve requirements-dev.lock and requirements-bench.lock anew
	@CUSTOM_COMPILE_COMMAND='make lock' $(PY) -m piptools compile --quiet --extra dev --generate-hashes \
		--strip-extras --allow-unsafe --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--output-file requirements-dev.lock pyproject.toml
	@CUSTOM_COMPILE_COMMAND='make lock' $(PY) -m piptools compile --quiet --extra bench --constraint requirements-dev.lock \
		--generate-hashes --strip-extras --allow-unsafe --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--output-file requirements-bench.lock pyproject.toml

clean: ## remove what was built, the virtual environment included
	rm -rf .venv build dist $(OBJECT) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

include tests/kernels/kernels.mk
