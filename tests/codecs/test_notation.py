"""Codecs in words: ``describe`` writes what ``build`` reads, or a readable form."""

import dataclasses
import re

import pytest

from psmpi import codecs
from psmpi.base import ConfigError
from psmpi.codecs import (
    Choice,
    Dense,
    Piecewise,
    Scaled,
    Sign,
    SignTopK,
    Stochastic,
    TopK,
)
from tests.helpers.codec_table import TABLE, codecs_

BOUNDS = (0, 40, 43, 100)


@codecs_
def test_build_reads_what_describe_writes(codec):
    assert codecs.build(codecs.describe(codec), {}) == codec
    if codec.unbiased and codec.error(5) < 1e300:
        assert codecs.build(codecs.describe(Scaled(codec)), {}) == Scaled(codec)


@pytest.mark.parametrize("codec", [Sign(bounds=BOUNDS), TopK(0.2, bounds=(0, 7))])
def test_bounds_are_written_and_read(codec):
    assert codecs.build(codecs.describe(codec), {}) == codec


def test_piecewise_codecs_are_joined_by_plus():
    codec = Piecewise((Sign(), Scaled(Stochastic(3)), TopK(7)), BOUNDS)
    words = codecs.describe(codec)
    assert words == "sign+stochastic:bits=3,norm=l2,scaled+topk:k=7"
    assert codecs.build(words, {}, tensors=BOUNDS) == codec


@pytest.mark.parametrize(
    ("codec", "words"),
    [
        (Stochastic(), "stochastic:bits=4,norm=l2"),
        (Sign(), "sign"),
        (Sign(block=64), "sign:block=64"),
        (TopK(0.1, block=9), "topk:k=0.1,block=9"),
        (codecs.QTopK(scaled=False), "qtopk:k=0.01,bits=4,scaled=false"),
        (Scaled(codecs.make("bernoulli")), "bernoulli:k=0.5,scaled"),
        (Choice((Sign(), Dense())), "choice(sign | dense:bits=32)"),
        (Piecewise((Sign(),), (0, 3, 4)), "piecewise(sign)"),
        (Scaled(Choice((Stochastic(),))), "scaled(choice(stochastic:bits=4,norm=l2))"),
        (
            Piecewise((Choice((Sign(), Dense())), Dense()), (0, 3, 4)),
            "piecewise(choice(sign | dense:bits=32)+dense:bits=32)",
        ),
    ],
)
def test_descriptions(codec, words):
    assert codecs.describe(codec) == words


@pytest.mark.parametrize(
    ("id", "words"),
    [
        ("stochastic", "stochastic:bits=4,norm=l2"),
        ("plane", "plane"),
        ("qtopk", "qtopk:k=0.01,bits=4,scaled=true,block=none,bounds=none"),
        ("scaled", "scaled:codec=CODEC"),
    ],
)
def test_a_class_is_described_by_its_defaults(id, words):
    assert codecs.describe(codecs.CODECS[id]) == words


@pytest.mark.parametrize("id", sorted({codec.id for codec in TABLE.values()}))
def test_the_defaults_of_a_class_build_its_default_codec(id):
    words = codecs.describe(codecs.CODECS[id])
    assert codecs.build(words, {}) == codecs.make(id)


@pytest.mark.parametrize("id", codecs.CODECS)
def test_the_docstring_of_a_codec_lists_its_options_and_their_defaults(id):
    cls = codecs.CODECS[id]
    for field in dataclasses.fields(cls):
        end = ""
        if field.default is None:
            end = ", optional"
        elif field.default is not dataclasses.MISSING:
            end = f", default {field.default!r}".replace("'", '"')
        line = rf"^    {field.name} : .*{re.escape(end)}$"
        assert re.search(line, cls.__doc__, re.MULTILINE), field.name


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("stochastic:bit=3", "no option 'bit'; its options are bits, norm; did you me"),
        ("stochastic:nrm=max", "did you mean norm?"),
        ("plane:block=3", "plane: there is no option 'block'; it has none"),
        ("stochastic:bits=3.5", "bits must be an integer, 1..16; got 3.5"),
        ("stochastic:bits=3.0", "bits must be an integer, 1..16; got 3.0"),
        ("stochastic:bits=few", "bits must be an integer, 1..16; got 'few'"),
        ("stochastic:bits", "bits must be an integer, 1..16; got True"),
        ("stochastic:bits=none", "bits must be an integer, 1..16; got None"),
        ("stochastic:bits=3/4", "bits must be an integer, 1..16; got (3, 4)"),
        ("stochastic:norm=3", "norm must be 'l2' or 'max', got 3"),
        ("stochastic:scaled=3", "stochastic: scaled must be True or False, got 3"),
        ("stochastic:scaled=no", "scaled must be True or False, got 'no'"),
        ("qtopk:scaled=0", "scaled must be True or False, got 0"),
        ("decimal:digits=2.5", "digits must be an integer"),
        ("topk:k", "k must be a fraction of dim"),
        ("topk:k=2.5", "got 2.5"),
        ("topk:k='3'", "got \"'3'\""),
        ("topk:block=2.5", "block must be an integer"),
        ("topk:bounds=5", "bounds must start with 0 and ascend, got 5"),
        ("topk:bounds=0/x", "bounds must be an integer"),
        ("ternary:clip", "clip must be 0 (none) or a number of standard dev"),
        ("sparsesign:budget=all", "budget must be above 0 and at most 1, got 'all'"),
        ("topk:k=1,k=2", "topk has k twice; give it once"),
        ("dense:bits=48", "bits must be 32 or 64, got 48"),
        ("natural", "there are adacomp, bernoulli,"),
    ],
)
def test_invalid_options_are_refused(spec, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        codecs.build(spec, {})


def test_spaces_around_options_do_not_matter():
    assert codecs.build(" topk : k = 3 , block=9 + dense", {}) == TopK(3, block=9)


@pytest.mark.parametrize(
    ("spec", "options", "expected"),
    [
        ("topk", {}, TopK()),
        ("topk", {"k": 5}, TopK(5)),
        ("topk:k=0.1", {"k": 5}, TopK(0.1)),
        ("stochastic:bits=3,norm=max", {}, Stochastic(3, "max")),
        ("stochastic:bits=3,scaled", {}, Scaled(Stochastic(3))),
        ("stochastic:scaled=false", {"scaled": True}, Stochastic()),
        ("qtopk:scaled=false", {"k": 3}, codecs.QTopK(3, scaled=False)),
        ("qtopk", {"scaled": True}, codecs.QTopK(scaled=True)),
        (
            "signtopk:k=0.2+dense+stochastic:bits=3",
            {},
            Piecewise((SignTopK(0.2), Dense(), Stochastic(3)), BOUNDS),
        ),
        (
            "topk+dense+topk:k=2",
            {"k": 7},
            Piecewise((TopK(7), Dense(), TopK(2)), BOUNDS),
        ),
    ],
)
def test_specs_are_read(spec, options, expected):
    assert codecs.build(spec, options, tensors=BOUNDS) == expected


def test_defaults_of_blocks_go_to_blockwise_codecs():
    layers = {"bounds": BOUNDS}
    codec = codecs.build("sign", {}, defaults=layers, tensors=BOUNDS)
    assert codec == Sign(bounds=BOUNDS)
    codec = codecs.build("sign:block=5", {}, defaults=layers, tensors=BOUNDS)
    assert codec == Sign(block=5)
    codec = codecs.build("dense", {}, defaults=layers, tensors=BOUNDS)
    assert codec == Dense()
    codec = codecs.build("sign+dense+sign", {}, defaults=layers, tensors=BOUNDS)
    assert codec == Piecewise((Sign(), Dense(), Sign()), BOUNDS)


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("tokp", {}, "did you mean topk?"),
        ("topk+sing", {}, "did you mean sign?"),
        ("topk:kk=3", {}, "no option 'kk'"),
        ("topk:k=", {}, "has no value; give k=VALUE"),
        ("topk", {"bits": 3}, "no option 'bits'"),
        ("sign", {"scaled": True}, "takes an unbiased codec"),
        ("topk:k=0", {}, "k must be"),
        ("piecewise", {}, "joined by + are piecewise"),
        ("scaled", {}, "NAME:scaled divides"),
        ("choice", {}, "a choice is for algorithms"),
    ],
)
def test_invalid_specs_are_refused(spec, options, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        codecs.build(spec, options, tensors=BOUNDS)
