"""stub while it is being written"""


class SpokenText:
    def feed(self, s: str) -> str:
        return s

    def finish(self) -> str:
        return ""
