#!/usr/bin/env python
"""
A demo of DocRE-II in the browser: paste a text, see its entities and triples.

    python examples/space/app.py --checkpoint outputs/quickstart

On Spaces, the variables DOCRE_II_CHECKPOINT and DOCRE_II_MENTION_EXTRACTOR take the place of the arguments.
"""

import argparse
import os

from modeling_docre_ii.cli.process_setup import one_line_errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default=os.environ.get("DOCRE_II_CHECKPOINT"), help="a folder or a Hub name")
    parser.add_argument(
        "--mention_extractor",
        default=os.environ.get("DOCRE_II_MENTION_EXTRACTOR"),
        help="a token-classification model that finds the mentions (default: the checkpoint's own)",
    )
    parser.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    args = parser.parse_args()
    if not args.checkpoint:
        parser.error("name a DocRE-II checkpoint, with --checkpoint or in the variable DOCRE_II_CHECKPOINT")
    with one_line_errors(parser.prog, ValueError, OSError, ImportError):
        # Gradio reads the variable when it is imported, and `--help` needs neither.
        os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
        from page import CSS, make_demo
        from reading import Reader

        demo = make_demo(Reader(args.checkpoint, args.mention_extractor))
        demo.launch(
            server_port=args.port,
            share=False,
            ssr_mode=False,
            enable_monitoring=False,
            max_file_size="5mb",
            footer_links=["api", "gradio", "settings"],
            css=CSS,
        )


if __name__ == "__main__":
    main()
