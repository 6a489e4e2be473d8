"""Key events told to others: to the application's callbacks, and to webhooks, of which none is lost."""
