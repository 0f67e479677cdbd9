#!/bin/sh
# in_root.sh PYTHON: makes the venv of the package. Run within the Debian it is for, beside a folder
# of wheels, by build.py; writes the shared libraries it needs to libraries.txt.
set -eu
cd "$(dirname "$0")"
python=/usr/bin/python$1
venv=/opt/stt-edge

rm -rf $venv
"$python" -m venv --without-pip $venv
# The tools come from Debian, the sources are those of the lock file: nothing is asked of a network.
"$python" -m pip -q wheel --no-index --no-build-isolation --no-deps --no-cache-dir -w wheels wheels/systemd[-_]python-*.tar.gz
"$python" -m pip -q --python $venv/bin/python install --no-index --no-deps --no-compile --no-cache-dir wheels/*.whl

# Programs of others, what a shell would source to work in here, what only a build would need.
find $venv/bin -mindepth 1 ! -name 'python*' ! -name stt-edge -delete
rm -rf $venv/.gitignore $venv/include $venv/share $venv/lib/python"$1"/site-packages/lib64
find $venv -name __pycache__ -prune -exec rm -rf {} +
# pip notes where a wheel lay.
find $venv -name direct_url.json -delete

libraries=$(find $venv -name '*.so' -o -name '*.so.*')
# shellcheck disable=SC2086
strip --strip-unneeded $libraries
# shellcheck disable=SC2086
chmod 0644 $libraries
# A wheel holds no links: libx.so, libx.so.0 and libx.so.0.9 are the same file three times.
for library in $(find $venv -name '*.so.*' | sort); do
    for shorter in "${library%.so.*}.so" "${library%.*}" "${library%.*.*}" "${library%.*.*.*}"; do
        if [ "$shorter" != "$library" ] && [ ! -L "$shorter" ] && cmp -s "$shorter" "$library"; then
            ln -sf "${library##*/}" "$shorter"
        fi
    done
done

mkdir -p shlibs/debian
printf 'Source: stt-edge\n\nPackage: stt-edge\nArchitecture: any\n' > shlibs/debian/control
# What a wheel put beside a module, the module finds by itself.
own=$(find $venv -name '*.so*' -printf '-l%h\n' | sort -u)
# shellcheck disable=SC2086
(cd shlibs && dpkg-shlibdeps -O --ignore-missing-info $own $libraries) > libraries.txt 2> shlibs.log || {
    cat shlibs.log >&2
    exit 1
}
