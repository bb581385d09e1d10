"""The program with another number of partitions of the topic ``chunks``.

``python -m benchmarks.partitioned N worker`` is ``dataharvest worker`` where ``chunks`` has N partitions; every process of a site
must be started with the same N.
"""

import sys

from dataharvest.cli import main
from dataharvest.topics import load_topics

if __name__ == "__main__":
    topics = load_topics()
    topics["chunks"] = topics["chunks"].model_copy(update={"partitions": int(sys.argv.pop(1))})
    main()
