#!/bin/bash
# recordings.sh DIR: what is said to the emulated machine, spoken by flite, as DIR/NAME.wav (16 kHz mono)
# and DIR/NAME.s48k (raw, 48 kHz stereo). DIR/words.jsgf are their words in any order: a grammar with
# which the engine keeps up with speech on an emulated processor.
set -euo pipefail

say() {
    words+=" $2"
    flite -voice slt -t "$2" -o "$1.wav"
    ffmpeg -loglevel error -y -i "$1.wav" -ar 48000 -ac 2 -f s16le "$1.s48k"
}

mkdir -p "$1"
cd "$1"
words=
say short "hello this is a test of the system"
say long "the boy walked down the long road to the old house and the girl came with him because she \
wanted to see the river and the green hills and all the people who lived in the little town on the \
other side of the bridge where the water is deep and the trees are very tall and in the evening when \
the sun went down they came back to the house and sat by the fire"

{
    printf '#JSGF V1.0;\ngrammar words;\npublic <words> = ('
    tr -s ' ' '\n' <<< "${words# }" | sort -u | paste -sd '|'
    printf ')+;\n'
} > words.jsgf
