"""Knowledge graphs of many documents, built from triples."""

from .building import build_graph, read_graph
from .framework_dicts import to_langchain, to_llama_index
from .graph import Edge, Evidence, KnowledgeGraph, Node
from .networkx_graph import to_networkx
from .writing import write_graph


__all__ = [
    "Edge",
    "Evidence",
    "KnowledgeGraph",
    "Node",
    "build_graph",
    "read_graph",
    "to_langchain",
    "to_llama_index",
    "to_networkx",
    "write_graph",
]
