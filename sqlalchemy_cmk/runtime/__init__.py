"""What any process needs: fork hooks, a background writer, blocking work under asyncio, a clock."""
