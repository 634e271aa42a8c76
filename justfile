# Shortcuts for CI's own steps: `just` lists them. The steps themselves are in .ci/run.

binary := "target/release/apigw-invoker"

_list:
    @just --list --unsorted

# everything that .ci/run checks
ci:
    .ci/run

# cargo fmt --check
format:
    .ci/run format

# clippy, with and without the feature `dev`
lints:
    .ci/run lints

# rustdoc without warnings
documentation:
    .ci/run documentation

# all tests
tests:
    .ci/run tests

# restarts of tasks that panic
fault_points:
    .ci/run fault_points

# the shipped settings are valid
settings:
    .ci/run settings

# licences, versions and sources of dependencies (cargo-deny)
dependencies:
    .ci/run dependencies

# write the generated tables of the documents anew
rewrite:
    REWRITE=1 cargo test --locked --test it documents

# the release binary, which the following need
release:
    cargo build --locked --release

# manifests, image and pods of k8s/
k8s: release
    .ci/k8s/run {{binary}}

# task definitions, Compose file and unit of packages/
packages: release
    .ci/packages/run {{binary}}

# both images, compiled as in the Dockerfile, and run by podman
image:
    .ci/image/run

# the files of a release, with a fast profile
release_files:
    .ci/release/run

# linters of .github/workflows
workflows:
    .ci/release/workflows

# real HTTP clients
clients: release
    .ci/clients/run {{binary}}

# faults that an operator meets
breakages: release
    .ci/breakages/run {{binary}}

# nginx and haproxy in front of the sidecar
hops: release
    .ci/hops/run {{binary}}

# Lambda frameworks behind the sidecar
adapters: release
    .ci/adapters/run {{binary}}

# S3 and other services
services: release
    .ci/services/run {{binary}}

# settings from a source
source: release
    .ci/source/run {{binary}}

# golden signatures
signatures:
    .ci/signatures/run
